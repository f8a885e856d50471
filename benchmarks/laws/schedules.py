"""Loss curves under learning-rate schedules that no law was fitted to: arXiv 2503.12811's task on its curves.

    python -m benchmarks laws [--data DIR] [--out FILE] [--quick]

For each model size every law is fitted to three runs and predicts the other six. What a fit leaves open (how
strongly it is regularised, the power of the memory law, the weights of the blend) is chosen by leaving out one of
the three fitted runs at a time, jointly for both sizes; the six predicted runs take no part in any choice. All
fits use Huber's loss of the log loss, threshold 1e-3, as the authors of the multi-power law do.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tsl_jax.store import read_loss_curve
from tsl_jax.temporal import (
    AnnealingLaw,
    History,
    LawFit,
    LawFitOptions,
    MemoryLaw,
    MultiPowerLaw,
    ScheduleLaw,
    StepPowerLaw,
    fit_law,
    held_out_error,
    join_histories,
    leave_one_run_out,
    loss_curve,
)

from .. import record

DATA = Path(__file__).parents[3] / "shared" / "data" / "loss_curves"
SIZES = ("25", "100")
FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
PREDICTED = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
#: Linear warm-up from 0 in updates, which the files leave out.
WARMUP_STEPS = 2160
#: Mean R² and mean absolute error over the six runs that the authors of the multi-power law report.
PUBLISHED = {"25": (0.9988, 0.00376), "100": (0.9983, 0.00435)}
#: Their parameters as printed, three decimals, in the order of `MultiPowerLaw.names`: evaluated here on the same files.
PUBLISHED_PARAMS = {
    "25": (3.040, 0.525, 0.508, 363.788, 2.066, 0.583, 0.641),
    "100": (2.651, 0.601, 0.453, 437.946, 2.132, 0.598, 0.655),
}

STRENGTHS = (0.0, 0.001, 0.01, 0.03, 0.1, 0.3)
BLEND_WEIGHTS = np.linspace(0.0, 1.0, 11)
#: Laws by their name in the table; of those with several entries the one that is best on runs left out.
CANDIDATES: dict[str, tuple[ScheduleLaw, ...]] = {
    "power law in steps": (StepPowerLaw(),),
    "annealing law": (AnnealingLaw(),),
    "multi-power law": (MultiPowerLaw(),),
    "memory law": (MemoryLaw(0.0), MemoryLaw(1.0), MemoryLaw(2.0)),
}
BLENDED = ("memory law", "multi-power law")


class Runs(NamedTuple):
    """The fitted runs of one model size joined, and every run alone."""

    history: History
    loss: np.ndarray
    run: np.ndarray
    alone: dict[str, tuple[History, np.ndarray]]


class Choice(NamedTuple):
    """What leaving runs out chose: the law, its regularisation, its error and its predictions of runs left out."""

    law: ScheduleLaw
    strength: float
    error: float
    predicted: dict[str, np.ndarray]
    seconds: float


def load(folder: Path) -> Runs:
    """The curves of one model size."""
    alone = {}
    for name in (*FITTED, *PREDICTED):
        curve = loss_curve(*read_loss_curve(folder / f"{name}.csv"))
        alone[name] = (curve.history(warmup_steps=WARMUP_STEPS), np.asarray(curve.loss))
    histories, losses = zip(*(alone[name] for name in FITTED), strict=True)
    run = np.repeat(np.arange(len(FITTED)), [len(loss) for loss in losses])
    return Runs(join_histories(histories), np.concatenate(losses), run, alone)


def choose(laws: tuple[ScheduleLaw, ...], sizes: dict[str, Runs], options: LawFitOptions, strengths) -> Choice:
    """The law and strength with the least mean error on runs left out, over all sizes."""
    begin, found = time.perf_counter(), []
    for law in laws:
        tried = strengths if law.has_excess else (0.0,)
        shrinkage = np.stack([law.shrinkage(strength) for strength in tried])
        predicted = {
            size: np.asarray(
                leave_one_run_out(law, runs.history, runs.loss, runs.run, shrinkage=shrinkage, options=options)
            )
            for size, runs in sizes.items()
        }
        errors = np.mean([held_out_error(predicted[s], r.loss, r.run).mean(axis=1) for s, r in sizes.items()], axis=0)
        best = int(np.argmin(errors))
        found.append((errors[best], law, tried[best], {size: rows[best] for size, rows in predicted.items()}))
    error, law, strength, predicted = min(found, key=lambda entry: entry[0])
    return Choice(law, strength, float(error), predicted, time.perf_counter() - begin)


def blend(choices: dict[str, Choice], sizes: dict[str, Runs]) -> tuple[float, float]:
    """Weight of the first of `BLENDED`, and its mean error on runs left out.

    Weights estimated from few errors lose to equal ones (Stock and Watson 2004); so of the weights whose error is
    within a standard error of the least, the one nearest to a half.
    """
    one, other = (choices[name].predicted for name in BLENDED)
    errors = np.concatenate(
        [
            held_out_error(np.stack([w * one[s] + (1 - w) * other[s] for w in BLEND_WEIGHTS]), r.loss, r.run)
            for s, r in sizes.items()
        ],
        axis=1,
    )
    mean = errors.mean(axis=1)
    least = int(np.argmin(mean))
    # Of the difference to the least, run by run: runs that are hard for all weights say nothing about weights.
    extra = errors - errors[least]
    allowed = extra.std(axis=1, ddof=1) / np.sqrt(extra.shape[1])
    near = np.flatnonzero(mean - mean[least] <= allowed)
    chosen = min(near, key=lambda index: abs(BLEND_WEIGHTS[index] - 0.5))
    return float(BLEND_WEIGHTS[chosen]), float(mean[chosen])


def timed_fit(choice: Choice, runs: Runs, options: LawFitOptions) -> tuple[LawFit, float, float]:
    """The chosen law fitted to all fitted runs; seconds of a fit, and of compiling it."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        shrinkage = choice.law.shrinkage(choice.strength)
        fit = fit_law(choice.law, runs.history, runs.loss, shrinkage=shrinkage, options=options)
        jax.block_until_ready(fit.coordinates)
        seconds.append(time.perf_counter() - begin)
    return fit, min(seconds[1:]), max(0.0, seconds[0] - min(seconds[1:]))


def score(predicted: np.ndarray, loss: np.ndarray) -> dict:
    """How well one run was predicted."""
    left = np.asarray(predicted) - loss
    return {
        "r2": float(1 - np.sum(left**2) / np.sum((loss - loss.mean()) ** 2)),
        "mae": float(np.abs(left).mean()),
        "worst": float(np.abs(left).max()),
    }


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    parser = argparse.ArgumentParser("python -m benchmarks laws", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the curves of each size")
    parser.add_argument("--out", help="JSON file, such as benchmarks/results/laws_cpu.json")
    parser.add_argument("--quick", action="store_true", help="fewer strengths and starts")
    arguments = parser.parse_args(argv)
    options = LawFitOptions(huber=1e-3, starts=1 if arguments.quick else 4)
    strengths = (0.001, 0.1) if arguments.quick else STRENGTHS

    sizes = {size: load(arguments.data / size) for size in SIZES}
    choices = {name: choose(laws, sizes, options, strengths) for name, laws in CANDIDATES.items()}
    weight, blend_error = blend(choices, sizes)
    result: dict = {"benchmark": "laws", "environment": record.environment(), "published": PUBLISHED, "sizes": {}}
    result["chosen"] = {
        name: {"law": repr(c.law), "strength": c.strength, "left_out_mae": c.error, "seconds": c.seconds}
        for name, c in choices.items()
    }
    result["chosen"]["blend"] = {"weights": dict(zip(BLENDED, (weight, 1 - weight), strict=True))}
    result["chosen"]["blend"]["left_out_mae"] = blend_error
    for size, runs in sizes.items():
        entries = {}
        fits = {name: timed_fit(choice, runs, options) for name, choice in choices.items()}
        predicted = {
            name: {run: np.asarray(fit.predict(runs.alone[run][0])) for run in PREDICTED}
            for name, (fit, _, _) in fits.items()
        }
        one, other = (predicted[name] for name in BLENDED)
        predicted["blend"] = {run: weight * one[run] + (1 - weight) * other[run] for run in PREDICTED}
        law = MultiPowerLaw()
        printed = dict(zip(law.names, jnp.asarray(PUBLISHED_PARAMS[size]), strict=True))
        predicted["published parameters"] = {
            run: np.asarray(law.predict(printed, runs.alone[run][0])) for run in PREDICTED
        }
        for name, rows in predicted.items():
            entries[name] = {"runs": {run: score(rows[run], runs.alone[run][1]) for run in PREDICTED}}
            if name in fits:
                fit, seconds, compiling = fits[name]
                entries[name] |= {"seconds": seconds, "compile_seconds": compiling}
                entries[name]["params"] = {key: float(value) for key, value in fit.params.items()}
        result["sizes"][size] = entries
        print(f"{size}M parameters: R² / mean absolute error / worst error (nat)\n\n{_scores(size, entries)}\n")
    print(f"{_chosen(result)}\n\n{record.describe(result['environment'])}\n`{result['environment']['command']}`")
    if arguments.out:
        print(f"written: {record.write(arguments.out, result)}")
    return result


def _scores(size: str, entries: dict) -> str:
    def cell(entry):
        return f"{entry['r2']:.5f} / {entry['mae']:.5f} / {entry['worst']:.3f}"

    rows = [[run, *(cell(entry["runs"][run]) for entry in entries.values())] for run in PREDICTED]
    means = [
        {key: np.mean([entry["runs"][run][key] for run in PREDICTED]) for key in ("r2", "mae", "worst")}
        for entry in entries.values()
    ]
    rows.append(["mean", *(cell(mean) for mean in means)])
    r2, mae = PUBLISHED[size]
    published = (f"{r2} / {mae}" if name == "multi-power law" else "" for name in entries)
    return record.table(["run", *entries], [*rows, ["published", *published]])


def _chosen(result: dict) -> str:
    rows = []
    for name, entry in result["chosen"].items():
        fits = [result["sizes"][size][name] for size in SIZES]
        seconds = [f"{max(fit[key] for fit in fits):.2f}" if key in fits[0] else "" for key in _SECONDS]
        what = (
            f"{entry['law']}, strength {entry['strength']:g}"
            if "law" in entry
            else " + ".join(f"{weight:.1f} {part}" for part, weight in entry["weights"].items())
        )
        rows.append([name, what, f"{entry['left_out_mae']:.5f}", *seconds, f"{entry.get('seconds', 0):.0f}"])
    header = ["law", "chosen on runs left out", "their mean absolute error", "fit (s)", "compile (s)", "choice (s)"]
    return record.table(header, rows)


_SECONDS = ("seconds", "compile_seconds")
