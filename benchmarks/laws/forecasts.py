"""Forecasts from the first 10 to 40% of real training runs, beside simpler ones: errors and coverage of the bands.

Forecasts of a run of arXiv 2503.12811 use the prior that finished runs of the other model size give ("left out"), or
those of both sizes, its own run among them, as a user has it who trains one more ("both"). Those of real_lm use the
default prior, which has seen neither it nor anything like it. Rows of a run are correlated and several runs share their
young part, so that coverages are rough.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tsl_jax.jobs.runs import Run, rates_until, read_run
from tsl_jax.temporal import ForecastPrior, forecast, forecast_positions
from tsl_jax.temporal.forecasts.ranking import seen_part

from .. import record
from .prior import SIZES, learned, runs_of

FRACTIONS = (0.1, 0.2, 0.3, 0.4)
HEADER = ["seen", "method", "MSE", "worst run", "MAE", "in 50% band", "in 90% band", "error / width of 50%"]
METHODS = ("tsl", "two-stage (2404.17785)", "power law with offset", "last value")
#: The same at single positions.
POSITION_METHODS = ("tsl, single positions", "two-stage, single positions")


def power_law(step: np.ndarray, loss: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``E + A t^-α`` by SciPy, α between 0.01 and 3, the offset at least 0."""
    from scipy.optimize import least_squares

    kept = step > 0
    x, y, scale = step[kept] / step[-1], loss[kept], step[-1]

    def curve(p, x):
        return p[0] + p[1] * x ** -p[2]

    starts = ([y[-1] * share, y[-1] * (1 - share), power] for share in (0.3, 0.8) for power in (0.2, 0.6))
    bounds = ([0, 0, 0.01], [y.max(), np.inf, 3])
    fits = [least_squares(lambda p: curve(p, x) - y, start, bounds=bounds, x_scale="jac") for start in starts]
    return curve(min(fits, key=lambda fit: fit.cost).x, at / scale)


def errors(mean: Any, loss: np.ndarray, found: Any = None) -> dict[str, float]:
    """MSE and mean absolute error, and the share of losses inside the bands if there are any."""
    error = np.asarray(mean) - loss
    out = {"mse": float(np.mean(np.square(error))), "mae": float(np.mean(np.abs(error)))}
    if found is not None:
        inside = [np.mean((loss >= low) & (loss <= high)) for low, high in zip(found.lower, found.upper, strict=True)]
        width = np.mean(np.asarray(found.upper[0]) - np.asarray(found.lower[0]))
        out |= {"coverage50": float(inside[0]), "coverage90": float(inside[1])}
        out |= {"bias": float(np.mean(error)), "width50": float(width)}
    return out


def judge(run: Run, rates: Any, fraction: float, prior: ForecastPrior) -> dict[str, Any]:
    """All methods on one run and fraction; nothing hidden is handed to any of them."""
    seen = run.until(run.step[seen_part(run.step, fraction)][-1])
    hidden = run.step > seen.step[-1]
    at, loss, results = run.step[hidden], run.loss[hidden], {}
    if seen.positions is None or run.positions is None:
        found = forecast(seen.step, seen.loss, at, learning_rate=rates, prior=prior)
    else:
        table = seen.positions
        given = table.axis, table.position, table.mean, table.stderr
        by_position = forecast_positions(*given, at, learning_rate=rates, prior=prior)
        found, truth = by_position.total, run.positions.mean[hidden]
        results[METHODS[1]] = errors(by_position.two_stage.mean(axis=1), loss)
        results[POSITION_METHODS[0]] = errors(by_position.loss, truth, by_position)
        results[POSITION_METHODS[1]] = errors(by_position.two_stage, truth)
    results[METHODS[0]] = errors(found.mean, loss, found)
    results[METHODS[2]] = errors(power_law(seen.step, seen.loss, at), loss)
    results[METHODS[3]] = errors(np.full(len(loss), seen.loss[-1]), loss)
    return {"run": run.name, "fraction": fraction, "seen": len(seen.step), "hidden": len(at), "methods": results}


def summary(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Means over runs, a row for each fraction and method."""
    rows = []
    for fraction in FRACTIONS:
        for name in (*METHODS, *POSITION_METHODS):
            here = [entry["methods"] for entry in entries if entry["fraction"] == fraction]
            cells = [methods[name] for methods in here if name in methods]
            if not cells:
                continue
            mean = {key: float(np.mean([cell[key] for cell in cells])) for key in cells[0]}
            cover = [f"{100 * mean[key]:.0f}%" if key in mean else "" for key in ("coverage50", "coverage90")]
            worst = max(cell["mse"] for cell in cells)
            centred = f"{mean['bias'] / mean['width50']:+.2f}" if "bias" in mean else ""
            errors_of = f"{mean['mse']:.6f}", f"{worst:.5f}", f"{mean['mae']:.4f}"
            rows.append([f"{fraction:.0%}", name, *errors_of, *cover, centred])
    return rows


def main(argv: list[str] | None = None) -> dict:
    """Run all, print a table of each group of runs, write the JSON."""
    parser = record.arguments("forecasts", __doc__, quick="one curve only")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of loss_curves and real_lm")
    options = parser.parse_args(argv)
    groups: dict[str, list[dict[str, Any]]] = {}
    sizes = {size: runs_of(options.data / "loss_curves" / size) for size in SIZES}
    for size in SIZES:
        others = {name: runs for name, runs in sizes.items() if name != size}
        for group, known in (("left out", others), ("both", sizes)):
            prior = learned(known, SIZES[size])
            for name, (run, rates) in list(sizes[size].items())[: 1 if options.quick else None]:
                print(f"{group}: {size}/{name}", file=sys.stderr, flush=True)
                entries = [judge(run, rates, fraction, prior) for fraction in FRACTIONS]
                groups.setdefault(group, []).extend(entry | {"run": f"{size}/{name}"} for entry in entries)
            if options.quick:
                break
        if options.quick:
            break
    if not options.quick:
        run = read_run(str(options.data / "real_lm" / "constant.zarr"))
        rates = rates_until(run, run.step[-1])
        entries = [judge(run, rates, fraction, ForecastPrior()) for fraction in FRACTIONS]
        groups["real_lm"] = [entry | {"run": "real_lm/constant"} for entry in entries]
    for name, entries in groups.items():
        print(f"\n{name}: {len({entry['run'] for entry in entries})} runs\n")
        print(record.table(HEADER, summary(entries)))
    result = {"benchmark": "forecasts", "environment": record.environment(), "groups": groups}
    return record.finish(result, options.out)
