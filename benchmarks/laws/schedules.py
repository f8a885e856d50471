"""Loss curves under learning-rate schedules that no law was fitted to: arXiv 2503.12811's task on its curves.

    python -m benchmarks laws [--data DIR] [--out FILE] [--quick]

For each model size every law is fitted to three runs and predicts the other six. What a fit leaves open (which law of
a kind, how strongly it is regularised, which laws are averaged) is chosen by `choose_laws` on the *other* size, where
the same three runs predict the same six: no run of the judged size takes part in any choice. All fits use Huber's
loss of the log loss, threshold 1e-3, as the authors of the multi-power law do.
"""

import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tsl_jax.store import read_loss_curve
from tsl_jax.temporal import (
    History,
    LawChoice,
    LawFitOptions,
    MemoryLaw,
    MultiPowerLaw,
    ScheduleLaw,
    SizeRuns,
    StepPowerLaw,
    choose_laws,
    join_histories,
    loss_curve,
)
from tsl_jax.temporal.laws.selection import LAWS_TRIED, STRENGTHS, LawAverage

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

#: What is tried: the laws of `choose_laws`, and a power law that knows no schedule.
TRIED: tuple[ScheduleLaw, ...] = (StepPowerLaw(), *LAWS_TRIED, MemoryLaw(3.0, 0.75))
#: Kinds of law by their name in the table.
KINDS = {
    "step_power_law": "power law in steps",
    "annealing_law": "annealing law",
    "multi_power_law": "multi-power law",
    "memory_law": "memory law",
}


class Runs(NamedTuple):
    """All runs of one model size joined, and every run alone."""

    joined: SizeRuns
    alone: dict[str, tuple[History, np.ndarray]]

    def fitted(self) -> tuple[History, np.ndarray]:
        """The rows that fits may see."""
        rows = np.isin(self.joined.run, self.joined.fitted or ())
        return self.joined.history[rows], self.joined.loss[rows]


def load(folder: Path) -> Runs:
    """The curves of one model size."""
    alone = {}
    for name in (*FITTED, *PREDICTED):
        curve = loss_curve(*read_loss_curve(folder / f"{name}.csv"))
        alone[name] = (curve.history(warmup_steps=WARMUP_STEPS), np.asarray(curve.loss))
    histories, losses = zip(*alone.values(), strict=True)
    run = np.repeat(np.arange(len(alone)), [len(loss) for loss in losses])
    fitted = tuple(range(len(FITTED)))
    return Runs(SizeRuns(join_histories(histories), np.concatenate(losses), run, fitted), alone)


def kinds(choice: LawChoice) -> dict[str, LawChoice]:
    """Of each kind the law that is best by itself, and the best average."""
    best = {}
    for name, shown in KINDS.items():
        entries = [entry for entry in choice.alone if entry[0].name == name]
        if entries:
            law, strength, error = min(entries, key=lambda entry: entry[2])
            best[shown] = LawChoice((law,), (strength,), error, ())
    return best | {"average": choice}


def timed_fit(choice: LawChoice, runs: Runs, options: LawFitOptions) -> tuple[LawAverage, float, float]:
    """The chosen laws fitted to all fitted runs; seconds of a fit, and of compiling it."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        fit = choice.fit(*runs.fitted(), options=options)
        jax.block_until_ready([each.coordinates for each in fit.fits])
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


def judged(size: str, runs: Runs, choice: LawChoice, options: LawFitOptions) -> dict:
    """Every kind of law, and the published parameters, on the runs of one size."""
    entries = {}
    for name, chosen in kinds(choice).items():
        fit, seconds, compiling = timed_fit(chosen, runs, options)
        predicted = {run: np.asarray(fit.predict(runs.alone[run][0])) for run in PREDICTED}
        entries[name] = {"runs": {run: score(rows, runs.alone[run][1]) for run, rows in predicted.items()}}
        entries[name] |= {"seconds": seconds, "compile_seconds": compiling, "chosen": describe(chosen)}
        entries[name]["params"] = [{key: float(value) for key, value in each.params.items()} for each in fit.fits]
    law = MultiPowerLaw()
    printed = dict(zip(law.names, jnp.asarray(PUBLISHED_PARAMS[size]), strict=True))
    rows = {run: np.asarray(law.predict(printed, runs.alone[run][0])) for run in PREDICTED}
    entries["published parameters"] = {"runs": {run: score(rows[run], runs.alone[run][1]) for run in PREDICTED}}
    return entries


def describe(choice: LawChoice) -> dict:
    """A choice as JSON holds it."""
    return {
        "laws": [repr(law) for law in choice.laws],
        "strengths": list(choice.strengths),
        "error_where_chosen": choice.error,
    }


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its tables, write its JSON."""
    parser = record.arguments("laws", __doc__, quick="fewer laws, strengths and starts")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the curves of each size")
    arguments = parser.parse_args(argv)
    options = LawFitOptions(huber=1e-3, starts=1 if arguments.quick else 4)
    strengths = (0.01, 0.1) if arguments.quick else STRENGTHS
    tried = (StepPowerLaw(), MultiPowerLaw(4.0), MemoryLaw()) if arguments.quick else TRIED

    sizes = {size: load(arguments.data / size) for size in SIZES}
    result: dict = {"benchmark": "laws", "environment": record.environment(), "published": PUBLISHED, "sizes": {}}
    result["alone"] = {}
    for size, runs in sizes.items():
        others = [each.joined for name, each in sizes.items() if name != size]
        choice = choose_laws(others, laws=tried, strengths=strengths, options=options)
        result["alone"][size] = [[repr(law), strength, error] for law, strength, error in choice.alone]
        entries = judged(size, runs, choice, options)
        result["sizes"][size] = entries
        print(f"{size}M parameters: R² / mean absolute error / worst error (nat)\n\n{_scores(size, entries)}\n")
        print(f"chosen on the other size:\n\n{_chosen(entries)}\n", flush=True)
    both = choose_laws([runs.joined for runs in sizes.values()], laws=tried, strengths=strengths, options=options)
    result["for_another_size"] = describe(both)
    print(f"for another size, chosen on both: {result['for_another_size']}")
    return record.finish(result, arguments.out)


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


def _chosen(entries: dict) -> str:
    rows = []
    for name, entry in entries.items():
        if "chosen" in entry:
            chosen = entry["chosen"]
            laws = zip(chosen["laws"], chosen["strengths"], strict=True)
            what = " + ".join(f"{law}, strength {strength:g}" for law, strength in laws)
            seconds = (f"{entry[key]:.2f}" for key in ("seconds", "compile_seconds"))
            rows.append([name, what, f"{chosen['error_where_chosen']:.5f}", *seconds])
    return record.table(["law", "chosen", "mean absolute error there", "fit (s)", "compile (s)"], rows)
