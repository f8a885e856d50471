"""`tsl schedule`: the learning-rate schedule that laws of finished runs prefer for a budget of updates."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import argument, needed, picture_of, unless_given
from .output_files import check_file, check_picture, write_picture
from .runs import (
    RUN_HELP,
    Columns,
    OptionError,
    by_option,
    read_run,
)
from .streams import output_console, say, warn

if TYPE_CHECKING:
    import numpy as np

    from ..temporal.laws.schedule_choice import ScheduleChoice

#: What `--law` is for laws that `choose_laws` finds.
_CHOSEN = "chosen"
#: Options by the parameters of `best_schedule`.
_OPTIONS = {"num_steps": "--steps", "shapes": "--shapes", "laws": "--law", "shortest_fall": "--shortest-fall"}

_Runs = Annotated[list[str], argument("LIKE_RUNS...", f"Finished runs with learning rates, each {RUN_HELP}")]
_Steps = Annotated[int, needed("N", "Updates of the new run.")]
_Warmup = Annotated[
    int | None,
    unless_given(
        "as recorded, and none in the new run",
        "Length of the linear warm-up from 0, in updates: of the new run, and of the runs that do not begin at step 0.",
    ),
]
_Law = Annotated[
    list[str] | None,
    unless_given(
        "multi-power and memory law, averaged",
        "Law by its name, such as multi_power_law, memory_law or annealing_law; several are averaged. chosen: those "
        "that predict the runs best, each from the others (slower).",
        metavar="LAW",
    ),
]
_Lowest = Annotated[float | None, unless_given("the lowest of the runs", "Lowest learning rate after the warm-up.")]
_Shortest = Annotated[
    int | None,
    unless_given("distance of the runs' rows", "Updates over which the last fall extends at least.", metavar="N"),
]


@grouped
def schedule(
    runs: _Runs,
    steps: _Steps,
    warmup: _Warmup = None,
    shapes: Annotated[
        str,
        typer.Option(
            help="Shapes to try, with commas: constant, linear, cosine, wsd (stable, then a linear, exponential, "
            "1-sqrt or power decay; wsd-linear for one of them), free (any rates that do not rise)."
        ),
    ] = "constant,linear,cosine,wsd,free",
    law: _Law = None,
    peak: Annotated[float | None, unless_given("the highest of the runs", "Highest learning rate.")] = None,
    lowest: _Lowest = None,
    shortest_fall: _Shortest = None,
    level: Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")] = 0.9,
    out: Annotated[
        Path | None, unless_given("none", "Write the schedule into this CSV file with columns step, lr.")
    ] = None,
    picture: Annotated[Path | None, picture_of("the schedule and the losses it is predicted to give")] = None,
    *,
    columns: Columns,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the learning-rate schedule with the lowest predicted loss after N updates.

    Laws that know the learning rate are fitted to LIKE_RUNS. The predicted gain over cosine and over WSD (linear decay
    over the last fifth) has an interval with the errors of the laws' parameters and of runs predicted from the others.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug), by_option(**_OPTIONS, peak="--peak", lowest="--lowest", runs="LIKE_RUNS"):
        from ..jobs.finished_runs import joined_runs
        from ..temporal.laws.schedule_choice import best_schedule

        check_picture(picture)
        if out is not None:
            check_file(out, (".csv",), "--out")
        names = columns.names
        joined = joined_runs([read_run(path, names) for path in runs], warmup)
        bounds = {"peak": peak, "lowest": lowest, "shortest_fall": shortest_fall}
        found = best_schedule(
            joined,
            steps,
            warmup_steps=warmup or 0,
            shapes=[name.strip() for name in shapes.split(",") if name.strip()],
            laws=_laws(law, joined),
            level=level,
            **bounds,
        )
        said = describe(runs, found)
        _print(said)
        if out is not None:
            _write(out, found.learning_rate)
            say(output_console(), f"Written: {out}", "green")
            said["out"] = str(out)
        if picture is not None:
            from ..plots.schedule import draw_schedule, schedule_data

            write_picture(draw_schedule(schedule_data(found)), picture, said)
        if as_json:
            write_json(said)


def _laws(names: list[str] | None, joined: Any) -> Any:
    from ..temporal.laws.schedule_choice import DEFAULT_LAWS
    from ..temporal.laws.schedule_laws import SCHEDULE_LAWS
    from ..temporal.laws.selection import choose_laws

    if names == [_CHOSEN]:
        return choose_laws([joined])
    for name in names or []:
        if name not in SCHEDULE_LAWS:
            raise OptionError(f"--law: got {name!r}, expected {', '.join(SCHEDULE_LAWS)}, or {_CHOSEN} alone")
    return [SCHEDULE_LAWS[name] for name in names] if names else DEFAULT_LAWS


def describe(names: list[str], found: "ScheduleChoice") -> dict[str, Any]:
    """A choice as JSON can hold it."""
    return {
        "runs": names,
        "steps": len(found.learning_rate),
        "laws": [fit.law.name for fit in found.fits],
        "shape": found.shape,
        "params": dict(found.params),
        "peak": float(found.learning_rate.max()),
        "last_rate": float(found.learning_rate[-1]),
        "loss": found.loss,
        "tried": [
            {"shape": name, "loss": loss, "params": dict(params)}
            for name, (loss, params) in sorted(found.tried.items(), key=lambda item: item[1][0])
        ],
        "level": found.level,
        "gain": {
            name: {
                "loss": found.baseline_loss[name],
                "gain": found.gain[name],
                "lower": found.lower[name],
                "upper": found.upper[name],
                "parameter_error": found.parameter_error[name],
            }
            for name in found.gain
        },
        "misfit": found.misfit,
        "passed_over": [
            {"shape": name, "gain": gain, "gain_stderr": error} for name, (gain, error) in found.passed_over.items()
        ],
        "warnings": list(found.warnings),
    }


def _print(said: dict[str, Any]) -> None:
    from rich.table import Table

    console = output_console()
    say(console, f"{said['steps']:,} updates, {len(said['runs'])} runs; laws: {', '.join(said['laws'])}.")
    table = Table(box=None, pad_edge=False)
    for name in ("shape", "predicted loss", "decay begins after", "last rate / peak", "power"):
        table.add_column(name, justify="left" if name == "shape" else "right", no_wrap=True)
    for row in said["tried"]:
        params = row["params"]
        start = f"{params['start']:.1%}" if "start" in params else ""
        cells = [f"{params[name]:.2f}" if name in params else "" for name in ("final", "power")]
        table.add_row(row["shape"], f"{row['loss']:.4f}", start, *cells)
    console.print(table)
    say(
        console,
        f"Chosen: {said['shape']}, from {said['peak']:.3g} to {said['last_rate']:.3g}, {said['loss']:.4f} nat.",
        "bold",
    )
    for row in said["passed_over"]:
        say(
            console,
            f"{row['shape']} is predicted to end {row['gain']:.4f} ± {row['gain_stderr']:.4f} nat lower, less than its "
            f"error: the simpler {said['shape']} is taken.",
        )
    for name, row in said["gain"].items():
        what = "cosine" if name == "cosine" else "WSD (linear decay over the last fifth)"
        ends = f"{said['level']:.0%}: {row['lower']:.4f} to {row['upper']:.4f}"
        say(console, f"Predicted gain over {what}: {row['gain']:.4f} nat ({ends})", "bold")
        if row["lower"] <= 0:
            warn(f"The runs do not tell whether it is better than {what}: the interval holds 0.")
    for warning in said["warnings"]:
        warn(f"Outside the data: {warning}")


def _write(path: Path, rate: "np.ndarray") -> None:
    """Steps count the updates that are done, from 0: a row's rate is that of the next update."""
    from ..store.user_files import write_file

    text = "step,lr\n" + "".join(f"{step},{value:.9g}\n" for step, value in enumerate(rate.tolist()))
    write_file(path, "the schedule", lambda file: file.write(text.encode()))
