"""`tsl positions`: the position law of a loss store, its evolution, separation and evenness."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import BootstrapSeed, Replicates, argument, picture_of, switch, unless_given
from .output_files import check_picture
from .streams import output_console, say
from .workers import Cluster, using_workers

if TYPE_CHECKING:
    from ..jobs.position_analysis import PositionAnalysis

#: Rows that people are shown.
_ROWS = 10


@grouped
def positions(
    losses: Annotated[str, argument("LOSSES", "Loss store with positions: a directory, a zip file or a URL.")],
    axis: Annotated[str, typer.Option(help="Checkpoint coordinate that counts training.")] = "step",
    since: Annotated[
        float | None,
        unless_given(
            "a third of training, or the separation point where it is reached",
            "Test from here on whether the loss falls evenly over positions.",
            "--from",
            metavar="VALUE",
        ),
    ] = None,
    replicates: Replicates = 200,
    seed: BootstrapSeed = 0,
    table: Annotated[
        str | None,
        unless_given(
            "none",
            "Write mean losses as a loss store, a row a checkpoint, for tsl fit --family hyperbola --axis position.",
            metavar="STORE",
        ),
    ] = None,
    overwrite: Annotated[bool, switch("--overwrite", "Replace --table if it is there; off by default.")] = False,
    picture: Annotated[Path | None, picture_of("the laws")] = None,
    *,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit the mean loss over positions, amplitude/(1 + rate * i) + floor, at every checkpoint of LOSSES.

    One pass over LOSSES, in bounded memory. Says how the three parameters evolve, from where on amplitude and rate are
    constant, and whether the loss then falls alike at all positions.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug):
        from ..jobs.position_analysis import analyse_positions
        from ..jobs.positions import position_losses
        from ..store import create_losses

        check_picture(picture)
        if table is not None:
            _check_table(table, losses, overwrite)
        with using_workers(cluster) as client:
            means = position_losses(losses, axis=axis, client=client)
        if table is not None:
            columns, rows = {"position": means.position}, {axis: means.axis}
            create_losses(table, means.mean, checkpoints=columns, tokens=rows, overwrite=overwrite)
        found = analyse_positions(means, since=since, replicates=replicates, seed=seed)
        if picture is not None:
            _draw(found, picture)
        said = {"losses": losses, "axis": axis} | _said(found)
        _print(said)
        for what, path in (("table", table), ("picture", picture)):
            if path is not None:
                said[what] = str(path)
                say(output_console(), f"Written: {path}", "green")
        if as_json:
            write_json(said)


def _check_table(table: str, losses: str, overwrite: bool) -> None:
    """Raise, before the work, if a table cannot be written there, or would replace the losses that are read."""
    from ..store import StoreError, locate
    from ..store.loss_creation import is_replaced

    places = [locate(losses).directory, locate(table, writable=True).directory]
    one, other = (
        place.resolve() if place else text.rstrip("/") for place, text in zip(places, (losses, table), strict=True)
    )
    if one == other:
        raise StoreError(f"--table: {table} holds the losses that are read; give another place")
    is_replaced(locate(table, writable=True), overwrite)


def _said(found: "PositionAnalysis") -> dict[str, Any]:
    """Everything that is said of an analysis, as JSON can hold it."""
    import numpy as np

    law, point, even = found.law, found.separation, found.evenness
    fits = {"r2": law.r2, "r2_ceiling": law.r2_ceiling, "r2_binned": law.r2_binned, "chi2_reduced": law.chi2_reduced}
    fits |= {f"{name}_stderr": values for name, values in found.stderr.items()}
    names = ("point", "lower", "upper", "change_p_value", "amplitude", "amplitude_stderr", "rate", "rate_stderr")
    tests = ("unevenness", "p_value", "trend", "trend_stderr", "mean_slope", "mean_slope_stderr")
    bins = ("first", "last", "ratio", "ratio_stderr")
    return {
        "positions": len(found.means.position),
        "checkpoints": {"axis": found.means.axis.tolist()}
        | {name: np.asarray(values).tolist() for name, values in (law.params | fits).items()},
        "evolution": {
            name: {
                "form": str(course.chosen_name),
                "start": float(course.start),
                "params": {key: float(value) for key, value in course.fits[str(course.chosen_name)].params.items()},
            }
            for name, course in found.courses.items()
        },
        "separation": {name: float(getattr(point, name)) for name in names} | {"reached": bool(point.reached)},
        "evenness": {"from": found.since}
        | {name: float(getattr(even, name)) for name in tests}
        | {name: np.asarray(getattr(even, name)).tolist() for name in bins},
    }


def _draw(found: "PositionAnalysis", picture: Path) -> None:
    from ..plots.position_law import draw_position_law, position_law_data
    from ..plots.style import save

    save(draw_position_law(position_law_data(found.means, found.law, found.courses, found.separation)), picture)


def _print(said: dict[str, Any]) -> None:
    import numpy as np
    from rich.table import Table

    console, law = output_console(), said["checkpoints"]
    table = Table(box=None, pad_edge=False)
    columns = ("amplitude", "rate", "floor", "r2", "r2_ceiling", "chi2_reduced", "r2_binned")
    for name in (said["axis"], *columns):
        table.add_column(name.replace("_", " ").replace("r2", "R²"), justify="right", no_wrap=True)
    axis = np.asarray(law["axis"])
    there = np.flatnonzero(axis > 0)
    picked = np.geomspace(max(axis[there[0]], axis[-1] / 32), axis[-1], _ROWS)
    for row in np.unique([there[np.abs(np.log(axis[there] / at)).argmin()] for at in picked]):
        table.add_row(f"{axis[row]:,g}", *(f"{law[name][row]:.4g}" for name in columns))
    console.print(table)
    for name, found in said["evolution"].items():
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in found["params"].items())
        say(console, f"{name}: {found['form'].replace('_', ' ')} from {found['start']:,g} on ({numbers})")
    point, even = said["separation"], said["evenness"]
    if point["reached"]:
        interval = f"{point['lower']:,.0f} to {point['upper']:,.0f}"
        say(console, f"Amplitude and rate are constant from {point['point']:,.0f} on (90%: {interval}).", "bold")
    else:
        say(console, "Amplitude and rate still change at the end: the separation point is not reached.", "bold")
    ratios = ", ".join(
        f"{first:g}-{last:g}: {ratio:.2f}±{error:.2f}"
        for first, last, ratio, error in zip(
            *(even[k] for k in ("first", "last", "ratio", "ratio_stderr")), strict=True
        )
    )
    verdict = "unevenly" if even["p_value"] < 0.05 else "as far as can be seen evenly"
    say(console, f"From {even['from']:,.0f} on the loss falls {verdict} over positions (p = {even['p_value']:.2g}).")
    say(console, f"Rate of its fall over the mean rate, by position: {ratios}")
