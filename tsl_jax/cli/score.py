"""`tsl score`: from fit stores of one run or several to sampling weights of their sequences."""

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from .component_files import read_components
from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import argument, needed, switch, unless_given
from .output_files import check_file, check_picture
from .score_words import describe, print_scores
from .streams import warn
from .workers import Cluster, using_workers


class _Change(enum.StrEnum):
    LINEAR = "linear"
    ENDS = "ends"


class _Events(enum.StrEnum):
    TESTED = "tested"
    ALL = "all"


class _Weighting(enum.StrEnum):
    COUNT = "count"
    DROP = "drop"


_Runs = Annotated[
    list[str],
    argument(
        "FITS...",
        "Fit store of sigmoids: a directory, a zip file or a URL; of several, fits of the same tokens in several runs, "
        "scores are averaged.",
    ),
]
_Window = Annotated[str, needed("A:B", "Part of training whose events count, in units of the fits' axis.")]
_ChangeOf = Annotated[
    _Change, typer.Option(help="Weights rise over all buckets, or change in those at both ends alone, as in the paper.")
]
_Ends = Annotated[int, typer.Option(min=1, help="Buckets that change at each end; for --change ends.")]
_Strength = Annotated[
    float,
    typer.Option(min=0, max=1, help="From 0 (all alike) to 1 (lowest bucket left out, highest drawn twice as often)."),
]
_EventsOf = Annotated[
    _Events,
    typer.Option(
        help="An event counts by how likely another run has it, or every one by this run's errors, as in the paper."
    ),
]
_WeightingOf = Annotated[
    _Weighting,
    typer.Option(
        help="How events enter a score: count (each alike, as in the paper) or drop (by what it brings, nat)."
    ),
]
_Shrink = Annotated[
    bool, switch("--shrink", "Draw scores, most of all of short sequences, to the mean as they are noise.")
]
_ByDomain = Annotated[bool, switch("--by-domain", "Weigh every domain for itself, so that their mixture stays.")]
_Components = Annotated[
    Path | None,
    unless_given(
        "none",
        "What `tsl compare --write-components` wrote: how far learning times of your runs lie apart. By default as far "
        "as those of small transformers did.",
        metavar="FILE",
    ),
]
_Losses = Annotated[str | None, unless_given("none", "Loss store of the fits, to follow the buckets' mean loss.")]
_Picture = Annotated[Path | None, unless_given("none", "Draw the buckets' mean loss into this file; needs --losses.")]


@grouped
def score(
    fits: _Runs,
    window: _Window,
    out: Annotated[Path, needed("WEIGHTS", "File to write: .npz or .parquet.")],
    buckets: Annotated[int, typer.Option(min=2, help="Buckets of equal size, by score.")] = 10,
    change: _ChangeOf = _Change.LINEAR,
    ends: _Ends = 2,
    strength: _Strength = 0.5,
    events: _EventsOf = _Events.TESTED,
    weighting: _WeightingOf = _Weighting.COUNT,
    shrink: _Shrink = False,
    by_domain: _ByDomain = False,
    components: _Components = None,
    losses: _Losses = None,
    picture: _Picture = None,
    *,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score every sequence by the share of its tokens that are learned within a window, and weigh it for sampling.

    A token counts by the probability that it has an event, by which its loss falls, within the window in a run of
    another seed: what a run says of late tokens, and of those that the curve hardly follows, is seldom so again. With
    --weighting drop the probability is multiplied by the nat that the event brings, and scores are in nat a token.
    Weights are 1 on average: lower in the bottom buckets, higher in the top ones. Printed, too: how reliable the scores
    are, from two halves of the tokens of each sequence, and from several runs.

    Exit codes: 0 done, also where the window is outside what was measured or holds hardly any events, with a warning;
    where scores are mere noise no weights are written; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    bounds = parse_window(window)
    if picture is not None and losses is None:
        raise typer.BadParameter("needs the losses to draw: give --losses, too", param_hint="--picture")
    if change is _Change.ENDS and 2 * ends > buckets:
        raise typer.BadParameter(f"got {ends} at each end of {buckets} buckets: they meet", param_hint="--ends")
    between_runs = read_components(components) if components is not None else None
    with reporting(as_json, debug):
        from ..jobs import score_store
        from ..store import open_fits
        from ..store.weights import WEIGHT_FILES, write_weights

        check_file(out, WEIGHT_FILES, "--out")
        check_picture(picture)
        stores = [open_fits(one) for one in fits]
        chosen = {"buckets": buckets, "strength": strength, "ends": ends if change is _Change.ENDS else None}
        chosen |= {"tested": events is _Events.TESTED, "weighting": str(weighting)}
        chosen |= {"shrink": shrink, "by_domain": by_domain}
        with using_workers(cluster) as client:
            found = score_store(stores, bounds, **chosen, components=between_runs, client=client)
        axis, scale = stores[0].axis_name, stores[0].scale
        attributes = {"window": window, "axis": axis, "strength": f"{strength:g}", "fits": "\n".join(fits)}
        attributes |= {"shrunken": str(shrink), "by_domain": str(by_domain)}
        attributes |= {"weighting": found.weighting, "score_unit": found.score_unit}
        attributes |= {"change": f"{change} {ends}" if change is _Change.ENDS else str(change), "counted": str(events)}
        said = describe(found, bounds, axis)
        if components is not None:
            attributes["components"] = said["components"] = str(components)
        if losses is not None:
            said |= _follow(losses, found, bounds, axis, scale, picture)
        if not found.noise:
            write_weights(out, found.columns(), attributes)
            said["written"] = str(out)
        elif out.exists():
            warn(f"{out} holds the weights of an earlier run: it is left as it is.")
        print_scores(said)
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
