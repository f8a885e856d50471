"""Forecasts of models of another family, with the default prior and with what the other models show.

    python -m benchmarks gemstones [--data DIR] [--out FILE] [--quick]

Eleven models of 50M to 2B parameters of the Gemstones scaling-law study, a training loss every 477 steps; the learning
rate is constant after a warm-up and not recorded, so that only the power law of the step is left. Each is forecast with
the default prior, by the models of the other sizes (50M, 100M, 500M, 1B, 2B), and by all ten others, as
``tsl forecast --like`` has it. `rank` says beside, after each part, which of them ends lowest.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tsl_jax.jobs.runs import Run, read_run
from tsl_jax.temporal import ForecastPrior, prior_from_runs, rank
from tsl_jax.temporal.forecasts.ranking import seen_part

from .. import record
from .forecasts import FRACTIONS, HEADER, METHODS, judge, means, summary

#: Arms, the first without known runs.
ARMS = ("default prior", "other sizes known", "ten others known")
#: The study's sizes, parameters, and of its tokenizer's vocabulary.
SIZES, _VOCABULARY = (50e6, 100e6, 500e6, 1e9, 2e9), 50_304
DIFFERENCE_HEADER = ["seen", *ARMS[1:]]


def parameters(run: Run) -> float:
    """About as many as a model has, from its name (width x depth): a gated block of four widths, and embeddings."""
    width, depth = map(int, Path(run.name).stem.split("_")[0].split("x"))
    return 16.0 * depth * width**2 + 2 * _VOCABULARY * width


def size_class(run: Run) -> float:
    """The study's size that a model is one of."""
    return min(SIZES, key=lambda size: abs(np.log(parameters(run) / size)))


def prior_of(arm: str, run: Run, runs: list[Run]) -> ForecastPrior:
    """The prior of an arm for a run."""
    if arm == ARMS[0]:
        return ForecastPrior()
    others = [other for other in runs if other is not run and (arm == ARMS[2] or size_class(other) != size_class(run))]
    given = [{"step": other.step, "loss": other.loss, "size": parameters(other)} for other in others]
    return prior_from_runs(given, size=parameters(run))


def differences(groups: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """By how much the MSE is above that of the default prior, run by run, with its standard error over runs."""
    found = []
    for arm in ARMS[1:]:
        for fraction in FRACTIONS:
            of_arm, default = (
                np.array([each["methods"][METHODS[0]]["mse"] for each in groups[name] if each["fraction"] == fraction])
                for name in (arm, ARMS[0])
            )
            above = of_arm - default
            error = float(above.std(ddof=1) / np.sqrt(len(above)))
            found.append({"arm": arm, "fraction": fraction, "mse_above": float(above.mean()), "stderr": error})
    return found


def difference_rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each fraction, a column for each arm."""
    by_place = {(each["fraction"], each["arm"]): f"{each['mse_above']:+.6f} ± {each['stderr']:.6f}" for each in found}
    return [[f"{fraction:.0%}", *(by_place[fraction, arm] for arm in ARMS[1:])] for fraction in FRACTIONS]


def ranked(runs: list[Any], fraction: float) -> dict[str, float]:
    """How often `rank` is right about pairs of runs, and how sure it says it is."""
    at = min(run.step[-1] for run in runs)
    parts = [run.until(run.step[seen_part(run.step, fraction)][-1]) for run in runs]
    found = rank([{"step": part.step, "loss": part.loss} for part in parts], float(at), fractions=(1.0,))
    ends = np.array([np.interp(at, run.step, run.loss) for run in runs])
    claims, right = [], []
    for i, k in zip(*np.tril_indices(len(runs), -1), strict=True):
        claim = float(found.better[i, k])
        claims.append(max(claim, 1 - claim))
        right.append((claim > 0.5) == (ends[i] < ends[k]))
    best = int(found.order[0])
    return {
        "fraction": fraction,
        "pairs": len(claims),
        "mean_claim": float(np.mean(claims)),
        "right": float(np.mean(right)),
        "claim_best": float(found.probability[best]),
        "best_is_best": float(best == int(np.argmin(ends))),
    }


def main(argv: list[str] | None = None) -> dict:
    """Run all, print the tables, write the JSON."""
    parser = record.arguments("gemstones", __doc__, quick="two models only")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/gemstones"), help="folder of the curves")
    options = parser.parse_args(argv)
    runs = [read_run(str(path)) for path in sorted(options.data.glob("*.csv"))][: 2 if options.quick else None]
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for arm in ARMS:
            print(f"{Path(run.name).stem}: {arm}", file=sys.stderr, flush=True)
            prior = prior_of(arm, run, runs)
            for fraction in FRACTIONS:
                entry: dict[str, Any] = judge(run, None, fraction, prior) | {"run": Path(run.name).stem}
                if arm != ARMS[0]:  # the methods beside know no prior
                    entry["methods"] = {METHODS[0]: entry["methods"][METHODS[0]]}
                groups.setdefault(arm, []).append(entry)
    above, ranks = differences(groups), [ranked(runs, fraction) for fraction in FRACTIONS]
    for arm, entries in groups.items():
        print(f"\n{arm}: {len(runs)} runs\n\n{record.table(HEADER, summary(entries))}")
    print(f"\nMSE above that of the default prior\n\n{record.table(DIFFERENCE_HEADER, difference_rows(above))}\n")
    shown = ("mean_claim", "right", "claim_best", "best_is_best")
    cells = [[f"{e['fraction']:.0%}", str(e["pairs"]), *(f"{e[name]:.2f}" for name in shown)] for e in ranks]
    print(record.table(["seen", "pairs", "mean claim of rank", "right", "claim for the best", "right"], cells))
    result = {"benchmark": "gemstones", "environment": record.environment(), "groups": groups, "ranks": ranks}
    result |= {"means": {arm: means(entries) for arm, entries in groups.items()}, "above_default": above}
    return record.finish(result, options.out)
