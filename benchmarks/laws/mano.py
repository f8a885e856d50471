"""Modular arithmetic at the setting of arXiv 2606.29858, as far as a machine goes: what is learned when, by length.

    python -m benchmarks mano [--preset cpu] [--weighting uniform inverse_square] [--work FOLDER] [--out FILE]

The paper trains a transformer of 8 layers and width 512 on prefix expressions modulo 23 of 1 to 10 operations, their
lengths uniform or as L^-2: the preset gpu. A CPU gets modulo 3, lengths 1 to 3 and a small model, with the same
program. Validation expressions are drawn as training's are. `tsl.collect` measures the loss of every answer at
geometric steps, `fit_store` fits it. Reported by length: the share of answers whose loss falls by a tenth of a guess's
at an event within the run, quartiles of their learning times, and the accuracy and mean loss at the end; the rank
correlation of length and learning time; and the energy of the leading singular mode of aligned pulses, single ones and
means of forty groups by learning time, where the paper reports 86.3% and 94.8%.
"""

import argparse
import dataclasses
import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .. import record

#: Modulus and lengths; layers, heads, width; batch, rate; first and last checkpoint and their number; answers measured.
PRESETS = {
    "cpu": {
        "task": (3, (1, 3)), "size": (2, 4, 64), "batch": 128, "rate": 3e-3, "steps": (40, 6000), "checkpoints": 80,
        "answers": 4096,
    },
    "gpu": {
        "task": (23, (1, 10)), "size": (8, 8, 512), "batch": 512, "rate": 1e-3, "steps": (100, 100_000),
        "checkpoints": 200, "answers": 65_536,
    },
    "quick": {
        "task": (3, (1, 2)), "size": (1, 2, 32), "batch": 64, "rate": 5e-3, "steps": (40, 300), "checkpoints": 20,
        "answers": 1024,
    },
}  # fmt: skip
WEIGHTINGS = ("uniform", "inverse_square")
#: Answers measured at once.
_AT_ONCE = 1024


def main(argv: list[str] | None = None) -> dict | None:
    """Run the benchmark, print its tables, write its JSON."""
    options = _arguments(argv)
    preset = PRESETS[options.preset]
    if options.dry_run:
        print(planned(preset, len(options.weighting)))
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.work or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        runs = {name: _kept(folder / name, preset, name) for name in options.weighting}
    result = {"benchmark": "mano", "environment": record.environment(), "preset": preset, "runs": runs}
    print(table(result))
    return record.finish(result, options.out)


def _kept(folder: Path, preset: dict, weighting: str) -> dict:
    """What a run of a weighting showed; trained if it was not yet."""
    path = folder / "found.json"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        path.write_text(json.dumps(_trained(folder, preset, weighting)))
    return json.loads(path.read_text())


def _parts(preset: dict, weighting: str):
    """Task, size and training of a preset."""
    from tsl_jax.simulate import Mano, ManoTraining, Transformer

    task = dataclasses.replace(Mano(*preset["task"]), weighting=weighting)
    training = ManoTraining(preset["batch"], preset["rate"], warmup=20, decay_steps=preset["steps"][1])
    return task, Transformer(*preset["size"]), training


def _trained(folder: Path, preset: dict, weighting: str) -> dict:
    import tsl_jax as tsl
    from tsl_jax.jobs import read_spectrum
    from tsl_jax.simulate import mano_batches, mano_loss, train_mano
    from tsl_jax.spectrum import pulse_modes

    task, size, training = _parts(preset, weighting)
    batches = mano_batches(task, preset["answers"], _AT_ONCE)
    first, last = preset["steps"]
    steps = np.unique(np.geomspace(first, last, preset["checkpoints"]).round().astype(int))
    says, right = _says(size), []

    def judged() -> Iterator:
        for step, params in train_mano(steps, task, size, training=training):
            right[:] = [np.asarray(says(params, batch)) for batch in batches]
            print(f"{weighting}, step {step}: {np.mean(right):.1%} right", flush=True)
            yield step, params

    losses, fits = folder / "losses.zarr", folder / "fits.zarr"
    tsl.collect(functools.partial(mano_loss, size=size), judged(), batches, losses)
    tsl.fit_store(losses, fits, tsl.Sigmoid(scale="log"))
    found = tsl.open_fits(fits)
    time, drop = (found.arrays[name][:] for name in ("learning_time", "loss_drop"))
    learned = (found.arrays["category"][:] == tsl.Category.LEARNED) & (drop > 0.1 * np.log(task.modulus))
    at_end = tsl.open_losses(losses).read()[:, -1].astype(float)
    spectrum = read_spectrum(fits, losses).spectrum
    energy = {"single pulses": pulse_modes(spectrum), "means of 40 groups": pulse_modes(spectrum, groups=40)}
    return {
        **by_length(found.read_coordinate("domain"), time, learned, np.concatenate(right), at_end),
        "energy": {name: float(modes.energy[0]) for name, modes in energy.items()},
    }


def _says(size):
    """Function of parameters and a batch: (sequences,) whether the likeliest token is the answer."""
    import jax
    import jax.numpy as jnp

    from tsl_jax.simulate import transformer_states

    @jax.jit
    def says(params, batch):
        states = transformer_states(params, batch["tokens"], size)
        before = jnp.take_along_axis(states, batch["position"][..., None] - 1, axis=1)[:, 0]
        return jnp.argmax(before @ params["output"], axis=-1) == batch["token_id"][:, 0]

    return says


def by_length(length, time, learned, right, last) -> dict:
    """What is learned of each length, and when.

    Args:
        length: (answers,) operations of the expressions.
        time: (answers,) learning times, steps.
        learned: (answers,) whether an event within the run takes the loss down.
        right: (answers,) whether the model says them at the end.
        last: (answers,) losses at the end, nat.
    """
    from scipy.stats import rankdata

    length, rows = np.asarray(length), []
    for one in np.unique(length):
        mine = length == one
        times = np.asarray(time)[mine & learned]
        rows.append(
            {
                "length": int(one),
                "answers": int(mine.sum()),
                "learned": float(np.mean(learned[mine])),
                "quartiles": np.quantile(times, [0.25, 0.5, 0.75]).tolist() if len(times) else None,
                "right": float(np.mean(right[mine])),
                "loss": float(np.mean(last[mine])),
            }
        )
    both = np.stack([rankdata(length[learned]), rankdata(np.asarray(time)[learned])])
    order = float(np.corrcoef(both)[0, 1]) if np.ptp(both, axis=1).all() else None
    return {"lengths": rows, "order": order}


def planned(preset: dict, runs: int) -> str:
    """What a preset would do, in numbers, with the program of a step traced but not run."""
    import jax

    from tsl_jax.simulate import init_transformer, mano_loss

    task, size, _ = _parts(preset, "uniform")
    params = jax.eval_shape(lambda: init_transformer(jax.random.key(0), size, task.vocabulary))
    numbers = {"tokens": (preset["batch"], task.context)} | dict.fromkeys(
        ("token_id", "position"), (preset["batch"], 1)
    )
    batch = {name: jax.ShapeDtypeStruct(shape, "int32") for name, shape in numbers.items()}
    jax.eval_shape(jax.grad(lambda params, batch: mano_loss(params, batch, size).mean()), params, batch)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    trained = runs * preset["steps"][1] * preset["batch"] * task.context
    measured = runs * preset["checkpoints"] * preset["answers"] * task.context
    return (
        f"{runs} runs of {preset['steps'][1]:,} steps, {parameters:,} parameters, {preset['answers']:,} answers at "
        f"{preset['checkpoints']} checkpoints\n{trained:,} tokens trained on, {measured:,} measured twice: "
        f"{(6 * trained + 4 * measured) * parameters:.2g} operations in matrices, attention not counted"
    )


def table(result: dict) -> str:
    """By weighting and length, and the energies."""
    rows, modes = [], []
    for name, run in result["runs"].items():
        for one in run["lengths"]:
            low, middle, high = one["quartiles"] or [np.nan] * 3
            times = f"{middle:,.0f} ({low:,.0f} to {high:,.0f})" if one["quartiles"] else "none"
            cells = (f"{one['length']}", f"{one['answers']:,}", f"{one['learned']:.0%}", times, f"{one['right']:.0%}")
            rows.append([_named(name), *cells, f"{one['loss']:.3f}"])
        energy = (f"{value:.1%}" for value in run["energy"].values())
        modes.append([_named(name), "" if run["order"] is None else f"{run['order']:.2f}", *energy])
    header = [
        "lengths",
        "operations",
        "answers",
        "learned",
        "median step (quartiles)",
        "right at the end",
        "loss (nat)",
    ]
    energies = [
        "lengths",
        "rank correlation of length and learning time",
        *(f"energy, {name}" for name in run["energy"]),
    ]
    return f"{record.table(header, rows)}\n\n{record.table(energies, modes)}"


def _named(weighting: str) -> str:
    return {"inverse_square": "as L^-2"}.get(weighting, weighting)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("mano", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--quick", dest="preset", action="store_const", const="quick", help="the preset quick")
    parser.add_argument("--weighting", nargs="+", choices=WEIGHTINGS, default=list(WEIGHTINGS), help="of lengths")
    parser.add_argument("--work", help="folder that keeps what is done; by default one that is deleted")
    parser.add_argument("--dry-run", action="store_true", help="say what the preset would do")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
