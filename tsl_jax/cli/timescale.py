"""`tsl timescale`: the power law of the loss in dynamic time, and its exponent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import argument, picture_of, unless_given
from .output_files import check_picture, write_picture
from .runs import (
    RUN_HELP,
    Columns,
    Rates,
    by_option,
    read_run,
    short_names,
)
from .streams import output_console, say, warn

if TYPE_CHECKING:
    from ..jobs.runs import Run


#: Axes by their names in JSON, in words.
AXES = {"lr_sum": "dynamic time", "step": "steps"}
#: Differences in AIC below this tell nothing.
_DECISIVE = 2.0


@grouped
def timescale(
    runs: Annotated[list[str], argument("RUN...", f"Runs, each {RUN_HELP}")],
    start: Annotated[
        float | None, unless_given("the highest rate", "Leave out earlier rows.", "--from", metavar="STEP")
    ] = None,
    level: Annotated[float, typer.Option(help="Of the interval of the exponent, between 0 and 1.")] = 0.95,
    *,
    rates: Rates,
    columns: Columns,
    picture: Annotated[Path | None, picture_of("the laws")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit loss = coefficient * time^-exponent + floor in dynamic time, the sum of the learning rates, and in steps.

    Theory says 1/3 for the exponent in dynamic time. Of several runs it is said how well they fall onto one curve.
    Runs without learning rates are fitted in steps alone.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug), by_option():
        check_picture(picture)
        names = columns.names
        parts = [_part(read_run(path, names), start, rates) for path in runs]
        laws = [_laws(part, level) for part in parts]
        said: dict[str, Any] = {"level": level, "runs": [_describe(p, w) for p, w in zip(parts, laws, strict=True)]}
        axes = [name for name in ("lr_sum", "step") if all(name in part for part in parts)]
        if len(runs) > 1:
            said |= _collapsed(parts, axes)
        _print(said)
        if picture is not None:
            from ..plots.timescale import draw_timescale, timescale_data

            names, losses = short_names(runs), [part["loss"] for part in parts]
            panels = {
                name: timescale_data(names, [part[name] for part in parts], losses, [law[name] for law in laws])
                for name in axes
            }
            write_picture(draw_timescale(panels), picture, said)
        if as_json:
            write_json(said)


def _part(run: "Run", start: float | None, given: Rates) -> dict[str, Any]:
    """Rows that are fitted: name, step, loss and, where the rates are known, dynamic time."""
    import numpy as np

    from ..jobs.runs import RunError, rates_until

    rates = rates_until(run, run.step[-1], given.schedule, given.warmup, "the losses")
    if start is None:
        start = max(1.0 if rates is None else float(np.argmax(rates) + 1), float(given.warmup or 0))
    kept = (run.step >= start) & (run.step > 0)
    if kept.sum() < 5:
        raise RunError(f"{run.name}: has {kept.sum()} rows from step {start:g} on, expected at least 5; lower --from")
    part = {"name": run.name, "step": run.step[kept], "loss": run.loss[kept]}
    if rates is not None:
        part["lr_sum"] = np.concatenate([[0.0], np.cumsum(rates)])[run.step[kept].astype(int)]
    return part


def _laws(part: dict[str, Any], level: float) -> dict[str, Any]:
    from ..temporal.clock.axis_comparison import compare_axes
    from ..temporal.clock.time_power_law import time_law

    if "lr_sum" not in part:
        return {"step": time_law(part["step"], part["loss"], level=level)}
    both = compare_axes(part["lr_sum"], part["step"], part["loss"], level=level)
    return {"lr_sum": both.dynamic_time, "step": both.step, "delta_aic": float(both.delta_aic)}


def _describe(part: dict[str, Any], laws: dict[str, Any]) -> dict[str, Any]:
    said = {
        "run": part["name"],
        "rows": len(part["step"]),
        "first_step": part["step"][0],
        "last_step": part["step"][-1],
    }
    if "delta_aic" in laws:
        said["delta_aic"] = laws["delta_aic"]
    for name in ("lr_sum", "step"):
        if name in laws:
            law, determined = laws[name], bool(laws[name].determined)
            values = law.params | {"p_value_of_one_third": law.third_p_value}
            said[name] = {
                "determined": determined,
                **{key: float(value) if determined else None for key, value in values.items()},
                "exponent_lower": float(law.exponent_lower),
                "exponent_upper": float(law.exponent_upper),
                "r2": float(law.r2),
            }
    return said


def _print(said: dict[str, Any]) -> None:
    from rich.table import Table

    console = output_console()
    table = Table(box=None, pad_edge=False)
    for name in ("run", "axis", "exponent", f"{said['level']:.0%} interval", "floor", "p of 1/3", "R²"):
        table.add_column(name, justify="left" if name in ("run", "axis") else "right", no_wrap=True)
    names = short_names([run["run"] for run in said["runs"]])
    for name, run in zip(names, said["runs"], strict=True):
        for axis, words in AXES.items():
            if axis in run:
                table.add_row(name, words, *_cells(run[axis]))
    console.print(table)
    for name, run in zip(names, said["runs"], strict=True):
        laws = {words: run[axis] for axis, words in AXES.items() if axis in run}
        for words, law in laws.items():
            if not law["determined"]:
                warn(f"{name}: in {words} the losses do not determine exponent and floor: no law.")
        if "delta_aic" in run and any(law["determined"] for law in laws.values()):
            say(console, f"{name}: {_better(run['delta_aic'])}.")
        if "delta_aic" not in run:
            warn(f"{name}: no learning rates, so no dynamic time.")
    for axis, spread in said.get("collapse", {}).items():
        if spread is not None:
            say(console, f"All runs on one curve over {AXES[axis]}: {spread:.4f} nat of spread are left.")
    for axis, reason in said.get("no_collapse", {}).items():
        warn(f"No common curve over {AXES[axis]}: {reason}.")


def _collapsed(parts: list[dict[str, Any]], axes: list[str]) -> dict[str, Any]:
    """How far apart the runs lie on one curve, by axis; where they do not lie over the same part of one, why not."""
    from ..temporal.clock.common_curve import collapse

    spreads: dict[str, float | None] = dict.fromkeys(axes)
    reasons = {}
    for name in axes:
        try:
            spreads[name] = float(collapse([part[name] for part in parts], [part["loss"] for part in parts]).spread)
        except ValueError as error:
            reasons[name] = str(error).removeprefix("axes: ")
    return {"collapse": spreads} | ({"no_collapse": reasons} if reasons else {})


def _cells(law: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Exponent, interval, floor, p of 1/3 and R² of a law; of one that is not determined, what fits at all."""
    lower, upper = law["exponent_lower"], law["exponent_upper"]
    ends = f"above {lower:.2f}" if upper == float("inf") else f"{lower:.2f} to {upper:.2f}"
    interval = "any" if upper == float("inf") and not lower else f"below {upper:.2f}" if not lower else ends
    if not law["determined"]:
        return "undetermined", interval, "-", "-", "-"
    numbers = f"{law['floor']:.3f}", f"{law['p_value_of_one_third']:.2g}", f"{law['r2']:.4f}"
    return f"{law['exponent']:.3f}", interval, *numbers


def _better(delta_aic: float) -> str:
    if abs(delta_aic) < _DECISIVE:
        return "dynamic time and steps explain the losses equally well"
    better = "dynamic time" if delta_aic > 0 else "steps"
    return f"{better} explains the losses better, by {abs(delta_aic):.1f} in AIC"
