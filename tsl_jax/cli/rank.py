"""`tsl rank`: which of several young runs ends lowest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .like import Relatives, prior_of
from .options import argument, needed, picture_of, unless_given
from .output_files import check_picture, write_picture
from .runs import (
    RUN_HELP,
    Columns,
    Rates,
    by_option,
    first_part,
    read_run,
    short_names,
)
from .streams import output_console, say, warn

if TYPE_CHECKING:
    from ..temporal.forecasts.ranking import Ranking


_Fraction = Annotated[
    float | None,
    unless_given("all that is recorded", "See only this first part of each run, between 0 and 1."),
]


@grouped
def rank(
    runs: Annotated[list[str], argument("RUN...", f"Two or more runs, each {RUN_HELP}")],
    at: Annotated[float, needed("STEP", "The step to compare them at.")],
    fraction: _Fraction = None,
    *,
    rates: Rates,
    columns: Columns,
    relatives: Relatives,
    picture: Annotated[Path | None, picture_of("the comparison")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which of several young runs will have the lowest mean loss at a step, and how sure that is.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug), by_option(at="--at"):
        from ..jobs.runs import rates_until
        from ..temporal.forecasts.ranking import rank as rank_runs

        check_picture(picture)
        names = columns.names
        given, prior = [], prior_of(relatives, rates.warmup, names, None)
        for path in runs:
            seen = first_part(read_run(path, names), fraction)
            lr = rates_until(seen, at, rates.schedule, rates.warmup)
            given.append({"step": seen.step, "loss": seen.loss, "learning_rate": lr})
        found = rank_runs(given, at, prior=prior)
        said = describe(runs, found)
        _print(said)
        if picture is not None:
            from ..plots.rank import draw_rank, rank_data

            write_picture(draw_rank(rank_data(short_names(runs), found)), picture, said)
        if as_json:
            write_json(said)


def describe(names: list[str], found: "Ranking") -> dict[str, Any]:
    """A ranking as JSON can hold it."""
    return {
        "step": float(found.step),
        "runs": [
            {
                "run": names[k],
                "loss": found.mean[k],
                **{f"lower{level}": found.lower[i][k] for i, level in enumerate((50, 90))},
                **{f"upper{level}": found.upper[i][k] for i, level in enumerate((50, 90))},
                "probability_best": found.probability[k],
                "gap": found.gap[k],
                "gap_stderr": found.gap_stderr[k],
                "warnings": list(found.warnings[k]),
            }
            for k in found.order
        ],
        "settled_after": float(found.settled),
        "choices": [
            {"seen": fraction, "run": names[k] if k >= 0 else None}
            for fraction, k in zip(found.fractions.tolist(), found.choice.tolist(), strict=True)
        ],
    }


def _named(said: dict[str, Any]) -> tuple[list[str], list[str]]:
    names = [run["run"] for run in said["runs"]]
    return names, short_names(names)


def _print(said: dict[str, Any]) -> None:
    from rich.table import Table

    console = output_console()
    table = Table(box=None, pad_edge=False)
    for name in ("run", f"loss at {said['step']:,.0f}", "90% band", "probability best", "above the best"):
        table.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    short = dict(zip(*_named(said), strict=True))
    for run in said["runs"]:
        table.add_row(
            short[run["run"]],
            f"{run['loss']:.4f}",
            f"{run['lower90']:.4f} to {run['upper90']:.4f}",
            f"{run['probability_best']:.0%}",
            f"{run['gap']:.4f} ± {run['gap_stderr']:.4f}",
        )
    console.print(table)
    for warning in dict.fromkeys(text for run in said["runs"] for text in run["warnings"]):
        concerned = [short[run["run"]] for run in said["runs"] if warning in run["warnings"]]
        who = "all runs" if len(concerned) == len(said["runs"]) else ", ".join(concerned)
        warn(f"Outside the data ({who}): {warning}")
    settled = said["settled_after"]
    if settled == settled:
        say(console, f"The choice has not changed since {settled:.0%} of the training up to that step.")
    else:
        warn("The choice changed at the last look: it has not settled.")
