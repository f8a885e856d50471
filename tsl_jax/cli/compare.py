"""`tsl compare`: what of a token repeats in other training runs, and fits of several runs combined."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .compare_words import print_comparison
from .component_files import check_components_file, read_components, write_components
from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import argument, picture_of, switch, unless_given
from .output_files import write_picture
from .progress import lines
from .streams import output_console, say
from .workers import Cluster, using_workers

_PICTURES = (".png", ".pdf", ".svg")


_Runs = Annotated[
    list[str],
    argument("FITS_A FITS_B ...", "Two or more fit stores of the same tokens, each of another training run."),
]
_Components = Annotated[
    Path | None,
    unless_given(
        "none",
        "What --write-components wrote of other runs: judge by these runs how well errors with its components hold. By "
        "default the components are estimated from these runs.",
        metavar="FILE",
    ),
]
_Write = Annotated[
    Path | None,
    unless_given(
        "none",
        "Write the components by which errors between runs exceed standard errors into this .json file, for "
        "`tsl score` and `tsl compare --components`.",
        "--write-components",
        metavar="FILE",
    ),
]
_Level = Annotated[float, typer.Option(help="Probability of the intervals that estimated components make hold.")]
_Ignore = Annotated[
    list[str] | None,
    unless_given("none", "Token coordinate that may differ between the stores; give it several times for several."),
]
_Out = Annotated[
    str | None,
    unless_given("none", "Write the runs' fits combined, as a fit store, here.", metavar="COMBINED"),
]
_Overwrite = Annotated[bool, switch("--overwrite", "Delete fits at COMBINED and begin anew; off by default.")]
_Deep = Annotated[
    bool,
    switch(
        "--deep",
        "Read combined fits that are at COMBINED back, and combine those blocks anew that are not what was written; "
        "off by default: only lost, empty and cut objects are looked for.",
    ),
]
_Picture = Annotated[
    Path | None,
    picture_of("learning times in two runs, their differences in units of their errors, and both by sharpness,"),
]


@grouped
def compare(
    fits: _Runs,
    components: _Components = None,
    write: _Write = None,
    level: _Level = 0.9,
    ignore: _Ignore = None,
    out: _Out = None,
    overwrite: _Overwrite = False,
    deep: _Deep = False,
    picture: _Picture = None,
    *,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare fits of the same tokens in several training runs: what repeats, and how far apart runs lie.

    For each parameter: rank correlation, differences in units of their errors, how many lie within their intervals, and
    the component by which errors between runs exceed standard errors. For each category: how often it repeats.

    Exit codes: 0 done; 1 refused (other tokens, an unfinished store) or failed, with the reason on stderr; 2 wrong
    usage; 130 stopped with Ctrl-C.
    """
    if len(fits) < 2:
        raise typer.BadParameter("got 1 store, expected at least two", param_hint="FITS_A FITS_B ...")
    if not 0 < level < 1:
        raise typer.BadParameter(f"got {level}, expected a probability between 0 and 1", param_hint="--level")
    if picture is not None:
        _check_picture(picture)
    check_components_file(write)
    with reporting(as_json, debug):
        from ..jobs import combine_fits
        from ..jobs import compare as compare_stores

        given = read_components(components) if components is not None else None
        options: dict[str, Any] = {"ignore": ignore or []}
        with using_workers(cluster) as client:
            how = options | {"progress": lines("compare"), "client": client}
            found = compare_stores(*fits, components=given, level=level, **how)
        console, said = output_console(), found.as_dict()
        print_comparison(console, found)
        if write is not None:
            write_components(write, found.components, said)
            said["components_written"] = str(write)
            say(console, f"Written: {write}", "green")
        if picture is not None:
            from ..plots import draw_run_comparison, run_comparison_data

            write_picture(draw_run_comparison(run_comparison_data(found)), picture, said)
        if out is not None:
            progress = lines("combine")
            options |= {"overwrite": overwrite, "deep": deep}
            combined = combine_fits(fits, out, found.components, **options, progress=progress)
            said["combined"] = {"fits": out, "tokens": combined.num_tokens}
            say(console, f"Combined fits of {len(fits)} runs: {out}", "green")
        if as_json:
            write_json(said)


def _check_picture(picture: Path) -> None:
    if picture.suffix not in _PICTURES:
        raise typer.BadParameter(
            f"got {str(picture)!r}, expected a file ending in {', '.join(_PICTURES)}", param_hint="--picture"
        )
    if not picture.parent.is_dir():
        raise typer.BadParameter(f"no such folder: {picture.parent}", param_hint="--picture")
