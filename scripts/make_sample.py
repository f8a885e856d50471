"""Makes the sample that comes with the package from the full validation losses of a training run.

    python scripts/make_sample.py FULL.zarr tsl_jax/data/sample.zarr

It takes whole sequences, the same number of every domain, spread evenly over the domain's sequences; all
checkpoints, all coordinates, and everything that was recorded per training step.
"""

import argparse

import numpy as np

from tsl_jax.store import LossStore, create_losses, locate, open_losses
from tsl_jax.store.arrays import create_array

SEQUENCES_PER_DOMAIN = 20
PER_TRAINING_STEP = ("learning_rate", "train_loss", "gradient_norm")
#: The store's own attributes, which the new store gets anew.
_FORMAT_ATTRIBUTES = ("tsl_kind", "tsl_version", "coordinates")


def chosen_sequences(sequence: np.ndarray, domain: np.ndarray, per_domain: int) -> np.ndarray:
    """Sequences to take, ascending; arguments (tokens,)."""
    chosen = []
    for code in np.unique(domain):
        members = np.unique(sequence[domain == code])
        chosen.append(members[np.linspace(0, len(members) - 1, per_domain).round().astype(int)])
    return np.sort(np.concatenate(chosen))


def make_sample(source: str, target: str, per_domain: int = SEQUENCES_PER_DOMAIN) -> LossStore:
    """Write the sample and open it."""
    full = open_losses(source)
    tokens = {name: full.read_coordinate(name) for name in full.token_coordinates}
    sequences = chosen_sequences(tokens["sequence"], tokens["domain"], per_domain)
    rows = np.flatnonzero(np.isin(tokens["sequence"], sequences))
    length = len(rows) // len(sequences)
    attributes = {name: value for name, value in full.attributes.items() if name not in _FORMAT_ATTRIBUTES}
    attributes["sample"] = {
        "of": "the validation losses that the other attributes describe",
        "rule": f"{per_domain} whole sequences of every domain, spread evenly over the domain's sequences",
        "sequences": sequences.tolist(),
        "tokens": len(rows),
        "tokens_in_full": full.num_tokens,
    }
    create_losses(
        target,
        full.read()[rows].astype(np.float16),
        checkpoints=full.checkpoint_coordinates,
        tokens={name: values[rows] for name, values in tokens.items()},
        attributes=attributes,
        chunk_tokens=length * per_domain,
        overwrite=True,
    )
    given = full.location.open_group()
    location = locate(target, writable=True)
    group = location.open_group("a")
    for name in PER_TRAINING_STEP:
        create_array(group, name, values=np.asarray(given[name]), dimension_names=("train_step",))
    location.consolidate()
    return open_losses(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="loss store with the coordinates sequence and domain")
    parser.add_argument("target", help="where the sample goes; a loss store there is replaced")
    arguments = parser.parse_args()
    sample = make_sample(arguments.source, arguments.target)
    print(f"{arguments.target}: {sample.num_tokens} tokens, {sample.num_checkpoints} checkpoints")
