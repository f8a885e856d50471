"""Does training on re-weighted text reach the same validation loss sooner?

    python -m benchmarks reweighting [--preset cpu] [--text FOLDER] [--work FOLDER] [--out FILE] [--picture FILE]

The design stands in docs/guides/reweighting-test.md. Two reference runs are measured on candidate and validation
sequences while they train; `fit_store` fits the loss of every byte, `score_store` scores the sequences for a window of
training. Then the runs of every seed go on from the window's start on candidates drawn without replacement: uniformly,
by the one-shot weights of the paper (the lowest and highest two of ten buckets change), by the same in reverse as a
control, by the loss at the window's start, and by the excess loss (the fall that a reference run shows within the
window, as in Rho-1), by scores predicted from the text alone, and by a curriculum that follows the run itself. All arms
of a seed share the start, the optimizer's state, the learning rate and the random keys of the draws. Reported: the
share of steps that an arm saves on the way to the uniform arm's losses, both curves smoothed by a cubic in ln(step),
with intervals over seeds, and the same for validation text of low, middle and high scores. What is done stays in
``--work`` and is not done again, so that a run can be cut, or shared among processes (``--only``).
"""

import argparse
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import record
from ..texts import DOMAINS
from .scores import BASELINES, CANDIDATES, CURRICULUM, OTHERS

#: Sizes of an experiment: for two CPU cores (within 30 minutes), for one GPU, and for a look at the code (a minute).
PRESETS = {
    "cpu": {
        "size": (1, 1, 32), "context": 256, "batch": 8, "rate": 3e-3, "warmup": 20, "window": (150, 350), "seeds": 8,
        "first": 4, "checkpoints": 12, "every": 25, "references": 2, "reference": 2800, "candidates": 6400,
        "validation": 200, "probes": 640, "plan": 50,
    },
    "gpu": {
        "size": (4, 8, 256), "context": 256, "batch": 64, "rate": 1e-3, "warmup": 100, "window": (500, 2500),
        "seeds": 8, "first": 10, "checkpoints": 40, "every": 100, "references": 2, "reference": 160_000,
        "candidates": 512_000, "validation": 4000, "probes": 2048, "plan": 500,
    },
    "quick": {
        "size": (1, 2, 16), "context": 32, "batch": 4, "rate": 3e-3, "warmup": 10, "window": (30, 60), "seeds": 2,
        "first": 4, "checkpoints": 10, "every": 10, "references": 2, "reference": 240, "candidates": 480,
        "validation": 60, "probes": 120, "plan": 10,
    },
}  # fmt: skip


def main(argv: list[str] | None = None) -> dict | None:
    """Run the benchmark, print its table, write its JSON and its picture."""
    options = _arguments(argv)
    preset = PRESETS[options.preset] | ({"seeds": options.seeds} if options.seeds else {})
    preset |= {"first_seed": options.first_seed}
    if options.dry_run:
        print(planned(preset, options.strengths, options.arms))
        return None
    from ..texts import split_documents
    from .curves import described, draw, table
    from .scores import Experiment

    numbers = {name: preset[name] for name in ("reference", "candidates", "validation")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.work or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows, text = _kept(
            folder / "text.pickle",
            lambda: split_documents(
                options.text, numbers, preset["context"], seed=options.text_seed, domain=options.domain
            ),
        )
        experiment = Experiment(preset, rows, folder, tuple(options.strengths), tuple(options.arms))
        seconds, scores = _done(experiment, options.only)
        if options.only and "report" not in options.only:
            return None
        result = {
            "benchmark": options.name,
            "environment": record.environment(),
            "preset": preset,
            "text": text,
            "scores": scores,
            "seconds": seconds,
            **described(experiment),
        }
    print(f"\n{table(result)}")
    record.finish(result, options.out)
    if options.picture:
        print(f"written: {draw(result, options.picture)}")
    return result


def _done(experiment, only: list[str]) -> tuple[dict, dict]:
    """Do what is not done yet, with ``only`` the parts of these names; return seconds by part, and the scores."""
    from .arms import seed_file, train_arms
    from .probes import text_features
    from .scores import reference, weights

    def features():
        return _kept(experiment.folder / "features.pickle", lambda: text_features(experiment))

    def scored():
        return _kept(experiment.folder / "scores.pickle", lambda: weights(experiment, features()))

    seconds = {}
    for k in range(experiment.preset["references"]):
        name = f"reference-{k}"
        mark = experiment.folder / f"{name}.done"
        if not mark.exists() and (not only or name in only):
            begun = time.process_time()
            reference(experiment, k)
            seconds[name] = time.process_time() - begun
            mark.write_text(f"{seconds[name]:.1f} s\n")
    for seed in experiment.seeds:
        name = f"seed-{seed}"
        if not seed_file(experiment, seed).exists() and (not only or name in only):
            weight, bucket, _ = scored()
            begun = time.process_time()
            train_arms(experiment, seed, weight, bucket, features())
            seconds[name] = time.process_time() - begun
    if only and not {"scores", "report"} & {*only}:
        return seconds, {}
    return seconds, scored()[2]


def _kept(path: Path, make: Callable[[], Any]) -> Any:
    """What a file keeps; made and written whole if it is not there."""
    if not path.exists():
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(pickle.dumps(make()))
        beside.replace(path)
    return pickle.loads(path.read_bytes())


def planned(preset: dict, strengths: list[float], others: Sequence[str] = BASELINES) -> str:
    """What a preset would do, in numbers, with the program of a step traced but not run."""
    import jax

    from .runs import begin, follow
    from .scores import Experiment, measured_steps

    experiment = Experiment(preset, {}, Path(), tuple(strengths))
    training, batch, context = experiment.training, preset["batch"], preset["context"]
    state, _ = jax.eval_shape(lambda: begin(0, training))
    text = jax.ShapeDtypeStruct((preset["candidates"], context + 1), "uint8")
    order = jax.ShapeDtypeStruct((preset["every"] * batch,), "int32")
    jax.eval_shape(lambda *given: follow(*given, training), state, order, 0, preset["every"], text)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state[0]))
    arms, (start, stop) = 1 + len(strengths) + len(others), preset["window"]
    runs = preset["seeds"] * arms
    trained = (runs * experiment.draws + (preset["references"] * stop + preset["seeds"] * start) * batch) * context
    evaluations = (stop - start) // preset["every"] + 1
    measured = preset["references"] * preset["checkpoints"] * (preset["candidates"] + preset["validation"])
    measured += runs * evaluations * preset["validation"]
    if CURRICULUM in others:
        before = sum(step <= start for step in measured_steps(preset))
        measured += preset["seeds"] * (before + evaluations - 1) * preset["probes"]
    measured *= context
    rows = sum(preset[name] for name in ("reference", "candidates", "validation"))
    return "\n".join(
        [
            f"{runs} runs ({preset['seeds']} seeds of {arms} arms) of {stop - start} steps, {parameters:,} parameters",
            f"{experiment.draws:,} draws of {preset['candidates']:,} candidates, 1 in "
            f"{preset['candidates'] / experiment.draws:.1f}, {context} bytes each; {rows * (context + 1) / 1e6:,.1f} "
            "MB of text in all",
            f"{trained:,} bytes trained on, {measured:,} measured: {(6 * trained + 2 * measured) * parameters:.2g} "
            "operations in matrices, attention not counted",
        ]
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = record.arguments("reweighting", __doc__)
    parser.add_argument("--name", default="reweighting", help="of the result, by which pages find it")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--quick", dest="preset", action="store_const", const="quick", help="the preset quick")
    parser.add_argument("--seeds", type=int, help="runs of each arm; by default the preset's")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first one")
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[0.5, 1.0, -1.0], help="of the one-shot weights, one arm each"
    )
    parser.add_argument("--arms", nargs="*", choices=(*OTHERS, *CANDIDATES), default=list(OTHERS), help="further ones")
    parser.add_argument("--text", help="folder of text files; by default what comes with Python and its packages")
    parser.add_argument("--domain", choices=DOMAINS, help="of its files; by default all")
    parser.add_argument("--text-seed", type=int, default=0, help="of what falls to which split")
    parser.add_argument("--work", help="folder that keeps what is done; by default one that is deleted")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PART", help="parts to do: text, reference-0, scores, seed-3"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what the preset would do")
    parser.add_argument("--picture", help="draw the curves into this file")
    options = parser.parse_args(argv)
    if any(not 0 < abs(strength) <= 1 for strength in options.strengths):
        parser.error(f"--strengths: got {options.strengths}, expected numbers from -1 to 1 without 0, the uniform arm")
    return options
