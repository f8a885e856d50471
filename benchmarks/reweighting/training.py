"""Does training on re-weighted text reach the same validation loss sooner?

    python -m benchmarks reweighting [--preset cpu] [--text FOLDER] [--out FILE] [--picture FILE]

A byte-level transformer is trained on reference text. `tsl_jax.collect` measures it on candidate sequences at some
steps, the first when it knows how frequent bytes are, which is the greatest event of nearly all of them; `fit_store`
fits the loss of every byte, and `score_store` scores the candidates for a window of training. Then runs with seeds of
their own go on from the window's start on the candidates, drawn uniformly in one arm and by the weights of each
strength in the others; below 0 by those of the opposite strength with the buckets in reverse, as a control. All arms
of a seed share the start, the optimizer's state, the learning rate and the random numbers that sequences are drawn
with. Reported: the share of the steps from the window's start that a re-weighted arm saves on the way to the uniform
arm's last validation loss, both curves smoothed by a cubic in ln(step). Text (`benchmarks texts`): reference,
candidates and validation come from different files.
"""

import argparse
import tempfile
import time
from pathlib import Path

from .. import record

#: Sizes of an experiment: for two CPU cores (within 30 minutes), for one GPU, and for a look at the code (a minute).
PRESETS = {
    "cpu": {
        "size": (2, 4, 48), "context": 64, "batch": 32, "rate": 2e-3, "warmup": 50, "window": (200, 600), "seeds": 5,
        "first": 60, "checkpoints": 20, "every": 25, "reference": 40_000, "candidates": 6144, "validation": 384,
    },
    "gpu": {
        "size": (4, 8, 256), "context": 128, "batch": 128, "rate": 1e-3, "warmup": 100, "window": (500, 4000),
        "seeds": 8, "first": 100, "checkpoints": 50, "every": 100, "reference": 40_000, "candidates": 16_384,
        "validation": 1536,
    },
    "quick": {
        "size": (1, 2, 32), "context": 32, "batch": 16, "rate": 3e-3, "warmup": 10, "window": (40, 120), "seeds": 2,
        "first": 20, "checkpoints": 12, "every": 10, "reference": 2000, "candidates": 256, "validation": 66,
    },
}  # fmt: skip

#: Parts of the validation set, from the lowest scores to the highest.
THIRDS = 3


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON and its picture."""
    options = _arguments(argv)
    preset = PRESETS[options.preset] | ({"seeds": options.seeds} if options.seeds else {})
    from ..texts import split_texts
    from .curves import UNIFORM, compared, draw

    numbers = {name: preset[name] for name in ("reference", "candidates", "validation")}
    rows, text = split_texts(options.text, numbers, preset["context"])
    begun = time.perf_counter()
    weights, reference = _weights(rows, preset, options.strengths)
    seconds = {"reference": time.perf_counter() - begun}
    print(f"reference run and scores: {seconds['reference']:.0f} s", flush=True)
    curves = _curves(rows, preset, weights)
    seconds["arms"] = time.perf_counter() - begun - seconds["reference"]
    result = {
        "benchmark": "reweighting",
        "environment": record.environment(),
        "preset": preset,
        "text": text,
        "reference": reference,
        "seconds": seconds,
        "arms": {name: compared(curves, name) for name in curves["loss"] if name != UNIFORM},
        "curves": curves,
    }
    print(f"\n{_table(result)}")
    record.finish(result, options.out)
    if options.picture:
        print(f"written: {draw(result, options.picture)}")
    return result


def _training(preset: dict):
    from tsl_jax.simulate import Transformer

    from .runs import Training

    return Training(Transformer(*preset["size"]), preset["batch"], preset["warmup"], preset["rate"])


def _weights(rows: dict, preset: dict, strengths: list[float]) -> tuple[dict, dict]:
    """Weights of the candidates by arm, and what the reference run was; sorts candidates and validation by score."""
    import numpy as np

    import tsl_jax as tsl
    from tsl_jax.reshape import bucket_of, bucket_weights

    from .curves import UNIFORM
    from .runs import losses

    size, window, number = _training(preset).size, preset["window"], preset["candidates"]
    steps = np.unique(np.geomspace(preset["first"], window[1], preset["checkpoints"]).round().astype(int))
    both, at_once = np.concatenate([rows["candidates"], rows["validation"]]), 2**14 // preset["context"]
    parts = [both[at : at + at_once] for at in range(0, len(both), at_once)]
    batches = [{"before": part[:, :-1], "token_id": part[:, 1:]} for part in parts]
    with tempfile.TemporaryDirectory() as folder:
        collected, fits = Path(folder) / "losses.zarr", Path(folder) / "fits.zarr"
        store = tsl.collect(
            lambda params, batch: losses(params, batch["before"], batch["token_id"], size),
            _reference_run(rows["reference"], preset, steps),
            batches,
            collected,
            progress=lambda report: print(
                f"reference run, step {report.step:g}: {report.mean_loss:.3f} nat", flush=True
            ),
        )
        mean_losses = store.checkpoint_coordinates["mean_loss"].round(5).tolist()
        summary = tsl.fit_store(collected, fits, tsl.Sigmoid(scale="log"))
        scored = tsl.score_store(fits, window)
    score = np.zeros(len(both))
    score[scored.sequence] = scored.score
    # Sorted by score, so that one random number draws sequences of like score in all arms.
    order = np.argsort(score[:number], kind="stable")
    rows["candidates"], found = rows["candidates"][order], score[:number][order]
    rows["validation"] = rows["validation"][np.argsort(score[number:], kind="stable")]
    bucket = np.asarray(bucket_of(found))
    weights = {UNIFORM: np.ones(number)}
    for strength in strengths:
        lifted = bucket if strength >= 0 else bucket.max() - bucket
        weights[f"strength {strength:g}"] = np.asarray(bucket_weights(lifted, strength=abs(strength)))
    return weights, {
        "steps": steps.tolist(),
        "mean_losses": mean_losses,
        "categories": {str(name): int(number) for name, number in summary.category_counts.items()},
        "learned_in_window": float(scored.events.sum() / scored.tokens.sum()),
        "scores_of_buckets": [round(float(found[bucket == k].mean()), 5) for k in range(10)],
    }


def _reference_run(text, preset: dict, steps):
    """Step and parameters as the training comes along, from a seed that no arm has."""
    from .runs import advance, begin

    training, chances, done = _training(preset), _evenly(len(text)), 0
    state, key = begin(preset["seeds"], training)
    for step in steps.tolist():
        state = advance(state, key, chances, done, step, text, training)
        done = step
        yield step, state[0]


def _curves(rows: dict, preset: dict, weights: dict) -> dict:
    """Validation losses over the window: by arm, (seeds, rows); and the last ones by score, (seeds, thirds)."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from .runs import advance, begin, for_each, mean_losses, stack

    training, (start, stop), seeds, arms = _training(preset), preset["window"], preset["seeds"], len(weights)
    together = jax.devices()[0].platform != "cpu"  # where one program over all runs is faster
    text = {name: jnp.asarray(values) for name, values in rows.items()}

    def forward(first, last, name, *stacked):
        run = for_each(lambda state, key, c: advance(state, key, c, first, last, text[name], training), together)
        return run(*stacked)

    examined = for_each(lambda params: mean_losses(params, text["validation"], training.size, THIRDS), together)
    states, keys = (stack(list(part)) for part in zip(*(begin(seed, training) for seed in range(seeds)), strict=True))
    states = forward(0, start, "reference", states, keys, jnp.tile(_evenly(preset["reference"]), (seeds, 1)))
    # Runs are seeds × arms; the arms of a seed have one start and one key.
    states, keys = jax.tree.map(lambda values: jnp.repeat(values, arms, axis=0), (states, keys))
    chances = jnp.tile(jnp.stack([jnp.asarray(np.cumsum(w) / np.sum(w)) for w in weights.values()]), (seeds, 1))
    steps, found = np.arange(start, stop + 1, preset["every"]), [examined(states[0])]
    for first, last in zip(steps[:-1].tolist(), steps[1:].tolist(), strict=True):
        states = forward(first, last, "candidates", states, keys, chances)
        found.append(examined(states[0]))
        print(f"step {last} of {stop}", flush=True)
    parts = np.asarray(jnp.stack(found, axis=1), np.float64).reshape(seeds, arms, -1, THIRDS)
    loss = parts.mean(-1)
    return {
        "step": steps.tolist(),
        "loss": {name: loss[:, at].round(5).tolist() for at, name in enumerate(weights)},
        "last_loss_of_thirds": {name: parts[:, at, -1].round(5).tolist() for at, name in enumerate(weights)},
    }


def _evenly(number: int):
    """Cumulated probabilities of equally likely rows."""
    import numpy as np

    return np.arange(1, number + 1, dtype=np.float32) / number


def _table(result: dict) -> str:
    rows = []
    for name, found in result["arms"].items():
        gain, lower = found["speed_up_percent"], found["last_loss_lower_by"]
        seeds = ", ".join(f"{value:.1f}" for value in gain["seeds"])
        mean = f"{gain['mean']:.1f} ({gain['interval'][0]:.1f} to {gain['interval'][1]:.1f})"
        nat = f"{lower['mean']:.4f} ({lower['interval'][0]:.4f} to {lower['interval'][1]:.4f})"
        thirds = ", ".join(f"{value['mean']:.4f}" for value in found["last_loss_of_thirds_lower_by"])
        rows.append([name, mean, seeds, nat, thirds])
    header = [
        "arm",
        "steps saved (%), 95% interval",
        "seeds",
        "last loss lower by (nat)",
        "by score, lowest third first",
    ]
    return record.table(header, rows)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("reweighting", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--quick", dest="preset", action="store_const", const="quick", help="the preset quick")
    parser.add_argument("--seeds", type=int, help="runs of each arm; by default the preset's")
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[0.5, 1.0, -0.5], help="of the weights, one arm each"
    )
    parser.add_argument("--text", help="folder of text files; by default what comes with Python and its packages")
    parser.add_argument("--picture", help="draw the curves into this file")
    options = parser.parse_args(argv)
    if any(not 0 < abs(strength) <= 1 for strength in options.strengths):
        parser.error(f"--strengths: got {options.strengths}, expected numbers from -1 to 1 without 0, the uniform arm")
    return options
