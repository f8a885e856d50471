"""`tsl score`: from a fit store to sampling weights of its sequences."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .component_files import read_components
from .console import Debug, Json, reporting, write_json
from .options import SigmoidFits, needed, unless_given
from .output_files import check_file, check_picture
from .streams import output_console, say, warn
from .workers import Scheduler, Workers, using_workers

if TYPE_CHECKING:
    from ..jobs import SampleWeights


_Window = Annotated[str, needed("A:B", "Part of training whose events count, in units of the fits' axis.")]
_Strength = Annotated[
    float,
    typer.Option(min=0, max=1, help="From 0 (all alike) to 1 (lowest bucket left out, highest drawn twice as often)."),
]
_Components = Annotated[
    Path | None,
    unless_given(
        "none",
        "What `tsl compare --write-components` wrote: count events by how likely they are within the window in another "
        "run, not if this run were measured again.",
        metavar="FILE",
    ),
]
_Losses = Annotated[str | None, unless_given("none", "Loss store of the fits, to follow the buckets' mean loss.")]
_Picture = Annotated[Path | None, unless_given("none", "Draw the buckets' mean loss into this file; needs --losses.")]


def score(
    fits: SigmoidFits,
    window: _Window,
    out: Annotated[Path, needed("WEIGHTS", "File to write: .npz or .parquet.")],
    buckets: Annotated[int, typer.Option(min=2, help="Buckets of equal size, by score.")] = 10,
    strength: _Strength = 0.5,
    components: _Components = None,
    losses: _Losses = None,
    picture: _Picture = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score every sequence by the share of its tokens that are learned within a window, and weigh it for sampling.

    A token counts by the probability that it has an event, by which its loss falls, within the window.
    Weights are 1 on average: lower in the bottom buckets, higher in the top ones.

    Exit codes: 0 done, also where the window is outside what was measured or holds hardly any events, with a warning;
    1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    bounds = parse_window(window)
    if picture is not None and losses is None:
        raise typer.BadParameter("needs the losses to draw: give --losses, too", param_hint="--picture")
    between_runs = read_components(components) if components is not None else None
    with reporting(as_json, debug):
        from ..jobs import score_store
        from ..store import open_fits
        from ..store.weights import WEIGHT_FILES, write_weights

        check_file(out, WEIGHT_FILES, "--out")
        check_picture(picture)
        store = open_fits(fits)
        chosen = {"buckets": buckets, "strength": strength, "components": between_runs}
        with using_workers(workers, scheduler) as client:
            found = score_store(store, bounds, **chosen, client=client)
        attributes = {"window": window, "axis": store.axis_name, "strength": f"{strength:g}", "fits": fits}
        said = describe(found, bounds, store.axis_name)
        if components is not None:
            attributes["components"] = said["components"] = str(components)
        if losses is not None:
            said |= _follow(losses, found, bounds, store.axis_name, store.scale, picture)
        write_weights(out, found.columns(), attributes)
        said["written"] = str(out)
        _print(said)
        if as_json:
            write_json(said)


def parse_window(text: str) -> tuple[float, float]:
    """``A:B`` as two numbers."""
    first, colon, last = text.partition(":")
    try:
        bounds = float(first), float(last)
    except ValueError:
        bounds = None
    if not colon or bounds is None or not bounds[0] < bounds[1]:
        raise typer.BadParameter(f"got {text!r}, expected A:B with A below B, such as 100:1000", param_hint="--window")
    return bounds


def describe(found: "SampleWeights", window: tuple[float, float], axis: str) -> dict[str, Any]:
    """What the scores say, as JSON can hold it."""
    import numpy as np

    rows = []
    for k in range(int(found.bucket.max()) + 1):
        inside = found.bucket == k
        rows.append(
            {
                "bucket": k + 1,
                "sequences": int(inside.sum()),
                "lowest_score": float(found.score[inside].min()),
                "mean_score": float(found.score[inside].mean()),
                "highest_score": float(found.score[inside].max()),
                "weight": float(found.weight[inside][0]),
            }
        )
    return {
        "axis": axis,
        "window": list(window),
        "sequences": len(found.sequence),
        "tokens": int(found.tokens.sum()),
        "events": float(np.sum(found.events)),
        "effective_sample_size": found.effective_sample_size,
        "warnings": list(found.warnings),
        "buckets": rows,
    }


def _follow(losses, found, window, axis_name, scale, picture: Path | None) -> dict[str, Any]:
    from ..jobs import bucket_losses
    from ..plots.buckets import buckets_data, draw_buckets
    from ..plots.style import save

    curves = bucket_losses(losses, found, axis=axis_name, window=window, scale=scale)
    data = buckets_data(axis_name, scale, window, found, curves)
    said: dict[str, Any] = {
        "fall_within_window": data.fall.tolist(),
        "fall_stderr": data.fall_stderr.tolist(),
    }
    if picture is not None:
        save(draw_buckets(data), picture)
        said["picture"] = str(picture)
    return said


def _print(said: dict[str, Any]) -> None:
    from rich.table import Table

    console = output_console()
    table = Table(box=None, pad_edge=False)
    falls = said.get("fall_within_window")
    for name in (
        "bucket",
        "sequences",
        "lowest score",
        "mean",
        "highest",
        "weight",
        *(["fall (nat)"] if falls else []),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for k, row in enumerate(said["buckets"]):
        cells = [str(row["bucket"]), f"{row['sequences']:,}"]
        cells += [f"{row[name]:.4f}" for name in ("lowest_score", "mean_score", "highest_score")]
        cells += [f"{row['weight']:.3f}"]
        cells += [f"{falls[k]:.4f} ± {said['fall_stderr'][k]:.4f}"] if falls else []
        table.add_row(*cells)
    console.print(table)
    fraction = said["effective_sample_size"] / said["sequences"]
    console.print(
        f"{said['events']:,.1f} of {said['tokens']:,} tokens are learned within the window. Effective sample size "
        f"{said['effective_sample_size']:,.1f} of {said['sequences']:,} sequences ({fraction:.1%})."
    )
    for warning in said["warnings"]:
        warn(warning)
    for name in ("picture", "written"):
        if name in said:
            say(console, f"Written: {said[name]}", "green")
