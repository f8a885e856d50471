"""Choice of the default prior of forecasts, never judged on the model size that it was chosen on.

What finished runs of one model size show (`prior_from_runs`) is the prior for young runs of the other size. How far
the gain may lie from it, and how much the slope drifts, is chosen by the mean log density of the hidden losses of the
size that the prior was *not* learned from; so each size yields a choice for the other. Defaults are those with the
best mean over both. `benchmarks forecasts` judges each size with what the other alone chose.
"""

import argparse
import dataclasses
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tsl_jax.jobs.runs import Run, rates_until, read_run
from tsl_jax.temporal import ForecastPrior, forecast, prior_from_runs
from tsl_jax.temporal.forecasts.ranking import seen_part

from .. import record

SIZES = ("25", "100")
FRACTIONS = (0.1, 0.2, 0.4)
#: Linear warm-up that the curves of arXiv 2503.12811 leave out.
WARMUP = 2160
#: Least spread of the gain as a share of it, and drift of the slope (nat in one e-fold).
GAIN_SHARES, DRIFTS = (0.15, 0.5), (0.001, 0.003, 0.01)


def runs_of(folder: Path) -> dict[str, tuple[Run, Any]]:
    """Every curve of a model size with its schedule."""
    runs = {path.stem: read_run(str(path)) for path in sorted(folder.glob("*.csv"))}
    return {name: (run, rates_until(run, run.step[-1], warmup=WARMUP)) for name, run in runs.items()}


def learned(runs: dict[str, tuple[Run, Any]], share: float, drift: float) -> ForecastPrior:
    """The prior from finished runs, the gain's spread at least ``share`` of it."""
    given = [{"step": run.step, "loss": run.loss, "learning_rate": rates} for run, rates in runs.values()]
    found = prior_from_runs(given)
    return dataclasses.replace(found, gain_std=max(found.gain_std, share * found.gain), drift=drift)


def density(runs: dict[str, tuple[Run, Any]], prior: ForecastPrior) -> float:
    """Mean log density (1/nat) of hidden losses, those of every run and fraction counting the same."""
    scores = []
    for (run, rates), fraction in itertools.product(runs.values(), FRACTIONS):
        seen = run.until(run.step[seen_part(run.step, fraction)][-1])
        hidden = run.step > seen.step[-1]
        found = forecast(seen.step, seen.loss, run.step[hidden], learning_rate=rates, prior=prior)
        spread = found.paths.std(axis=0)
        scores.append(np.mean(-0.5 * np.square((run.loss[hidden] - found.mean) / spread) - np.log(spread)))
    return float(np.mean(scores))


def main(argv: list[str] | None = None) -> dict:
    """Score all candidates, print the table, write the JSON."""
    parser = argparse.ArgumentParser("python -m benchmarks forecast_prior", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/loss_curves"), help="folder of the curves")
    parser.add_argument("--out", help="JSON file, such as benchmarks/results/forecast_prior_cpu.json")
    options = parser.parse_args(argv)
    sizes = {size: runs_of(options.data / size) for size in SIZES}
    entries = []
    for share, drift in itertools.product(GAIN_SHARES, DRIFTS):
        entry: dict[str, Any] = {"gain_share": share, "drift": drift}
        for size, other in zip(SIZES, SIZES[::-1], strict=True):
            entry[size] = density(sizes[size], learned(sizes[other], share, drift))
        print(entry, file=sys.stderr, flush=True)
        entries.append(entry)
    best = {size: max(entries, key=lambda entry: entry[size]) for size in SIZES}
    both = max(entries, key=lambda entry: sum(entry[size] for size in SIZES))
    prior = learned({f"{size}/{name}": run for size in SIZES for name, run in sizes[size].items()}, **_options(both))
    rows = [[f"{e['gain_share']:g}", f"{e['drift']:g}", *(f"{e[size]:.3f}" for size in SIZES)] for e in entries]
    print(record.table(["least spread of gain", "drift (nat)", *(f"log density on {size}M" for size in SIZES)], rows))
    chosen = {size: _options(best[other]) for size, other in zip(SIZES, SIZES[::-1], strict=True)}
    print(f"\nfor each size, by the other: {chosen}\nby both: {_options(both)}\n{prior}")
    result = {"benchmark": "forecast_prior", "environment": record.environment(), "candidates": entries}
    result |= {"chosen_for": chosen, "default": _options(both), "prior": dataclasses.asdict(prior)}
    if options.out:
        print(f"written: {record.write(options.out, result)}")
    return result


def _options(entry: dict[str, Any]) -> dict[str, float]:
    return {"share": entry["gain_share"], "drift": entry["drift"]}
