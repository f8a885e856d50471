"""Forecasts of models of another family, with the default prior: errors and coverage of the bands.

    python -m benchmarks gemstones [--data DIR] [--out FILE] [--quick]

Eleven models of 50M to 2B parameters of the Gemstones scaling-law study, a training loss every 477 steps; the learning
rate is constant after a warm-up and not recorded, so that only the power law of the step is left. `rank` says beside,
after each part, which of them ends lowest.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tsl_jax.jobs.runs import read_run
from tsl_jax.temporal import ForecastPrior, rank
from tsl_jax.temporal.forecasts.ranking import seen_part

from .. import record
from .forecasts import FRACTIONS, HEADER, judge, summary


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
    entries = []
    for run in runs:
        print(Path(run.name).stem, file=sys.stderr, flush=True)
        judged = (judge(run, None, fraction, ForecastPrior()) for fraction in FRACTIONS)
        entries.extend(entry | {"run": Path(run.name).stem} for entry in judged)
    ranks = [ranked(runs, fraction) for fraction in FRACTIONS]
    print(f"{len(runs)} runs\n\n{record.table(HEADER, summary(entries))}\n")
    shown = ("mean_claim", "right", "claim_best", "best_is_best")
    cells = [[f"{e['fraction']:.0%}", str(e["pairs"]), *(f"{e[name]:.2f}" for name in shown)] for e in ranks]
    print(record.table(["seen", "pairs", "mean claim of rank", "right", "claim for the best", "right"], cells))
    result = {"benchmark": "gemstones", "environment": record.environment(), "entries": entries, "ranks": ranks}
    return record.finish(result, options.out)
