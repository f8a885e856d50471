"""Forecasts from the first 10 to 40% of real training runs, beside simpler ones: errors and coverage of the bands.

Forecasts of a run of arXiv 2503.12811 use the prior that finished runs of the other model size give ("left out"), or
those of both sizes, its own run among them, as a user has it who trains one more ("both"). Those of real_lm use the
default prior, which has seen neither it nor anything like it. Errors are standard errors over runs, as the rows of a
run share one error; several runs share their young part, and all of a size what is not known of the size, so that they
are too small rather than too large.
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
HEADER = [
    "seen",
    "method",
    "MSE ± error",
    "worst run",
    "MAE",
    "in 50% band",
    "in 90% band",
    "(a true one)",
    "error / width of 50%",
]
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


def means(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over runs with their standard errors over runs, for each fraction and method.

    Points of a run share one error, so that they count as few: ``independent_points`` is as many as would scatter as
    the runs' coverages of the 50% band do, and ``stderr_of_true90`` what a band that holds 90% would scatter by.
    """
    found = []
    for fraction in FRACTIONS:
        for name in (*METHODS, *POSITION_METHODS):
            here = [entry["methods"] for entry in entries if entry["fraction"] == fraction]
            cells = [methods[name] for methods in here if name in methods]
            if not cells:
                continue
            row: dict[str, Any] = {"fraction": fraction, "method": name, "runs": len(cells)}
            for key in cells[0]:
                values = np.array([cell[key] for cell in cells])
                row[key] = float(values.mean())
                row[f"{key}_stderr"] = float(values.std(ddof=1) / np.sqrt(len(cells))) if len(cells) > 1 else None
            row["worst_mse"] = max(cell["mse"] for cell in cells)
            share, stderr = row.get("coverage50"), row.get("coverage50_stderr")
            if share is not None and stderr:
                row["independent_points"] = share * (1 - share) / stderr**2
                row["stderr_of_true90"] = 0.3 / max(row["independent_points"], 1.0) ** 0.5
            found.append(row)
    return found


def summary(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Means over runs, a row for each fraction and method."""
    rows = []
    for row in means(entries):
        mse = f"{row['mse']:.6f}" + (f" ± {row['mse_stderr']:.6f}" if row["mse_stderr"] is not None else "")
        cover = [_share(row, key) for key in ("coverage50", "coverage90")]
        true = f"90 ± {100 * row['stderr_of_true90']:.0f}%" if "stderr_of_true90" in row else ""
        centred = f"{row['bias'] / row['width50']:+.2f}" if "bias" in row else ""
        numbers = mse, f"{row['worst_mse']:.5f}", f"{row['mae']:.4f}", *cover, true, centred
        rows.append([f"{row['fraction']:.0%}", row["method"], *numbers])
    return rows


def _share(row: dict[str, Any], key: str) -> str:
    if key not in row:
        return ""
    error = row[f"{key}_stderr"]
    return f"{100 * row[key]:.0f}" + (f" ± {100 * error:.0f}%" if error is not None else "%")


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
    result["means"] = {name: means(entries) for name, entries in groups.items()}
    return record.finish(result, options.out)
