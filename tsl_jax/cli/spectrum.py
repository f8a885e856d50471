"""`tsl spectrum`: from a fit store to the decomposition of the mean loss, in numbers and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import BootstrapSeed, Format, Replicates, SigmoidFits, unless_given
from .output_files import check_picture
from .spectrum_numbers import describe
from .spectrum_words import print_description
from .streams import output_console, say
from .workers import Cluster, using_workers

if TYPE_CHECKING:
    from ..jobs import Analysis
    from ..store import FitStore

PICTURES = ("spectrum", "pulses", "modes")
#: Token coordinates that are grouped by where nothing is asked for and the store has them.
_USUAL = ("domain", "token_frequency", "position", "dependency_length")


_Losses = Annotated[
    str | None,
    typer.Option(
        help="Loss store of the fits, to compare the spectrum with the mean loss; by default only the mean of the fits "
        "is there."
    ),
]
_OtherRun = Annotated[
    str | None,
    unless_given(
        "none",
        "Loss store of the same tokens in another training run, to tell what is missing of the derivative from what "
        "moves between runs; needs --losses.",
        metavar="LOSSES",
    ),
]
_By = Annotated[
    list[str] | None,
    typer.Option(
        help="Token coordinate to group by; give it several times for several, or none to leave groups out. By default "
        f"those of {', '.join(_USUAL)} that the store has."
    ),
]
_Bins = Annotated[int, typer.Option(min=2, max=100, help="Groups of a number with many values.")]
_Weighting = Annotated[
    str, typer.Option(help="How events enter p and g: count (each alike) or drop (by what it brings).")
]
_Outside = Annotated[
    str,
    typer.Option(
        help="Events outside the window: own (their own pulses are added to p * g), edge (on the nearest edge), inside "
        "(left out)."
    ),
]
_Level = Annotated[float, typer.Option(help="Share of the replicates inside a band.")]
_Out = Annotated[
    Path | None,
    typer.Option(
        help=f"Directory for the pictures ({', '.join(PICTURES)}, and groups_NAME for each coordinate); by default "
        "none are drawn."
    ),
]


@grouped
def spectrum(
    fits: SigmoidFits,
    losses: _Losses = None,
    other_run: _OtherRun = None,
    by: _By = None,
    bins: _Bins = 8,
    weighting: _Weighting = "count",
    outside: _Outside = "own",
    replicates: Replicates = 200,
    level: _Level = 0.9,
    seed: BootstrapSeed = 0,
    out: _Out = None,
    ending: Format = "png",
    *,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Explain the mean loss by when tokens are learned: spectrum, shared pulse, tails, groups, with bands.

    One pass over FITS (and LOSSES), in bounded memory.

    Exit codes: 0 done, also where the store has no events, with the reason; 1 refused or failed, with the reason on
    stderr; 2 wrong usage; 130 stopped with Ctrl-C.
    """
    if other_run is not None and losses is None:
        raise typer.BadParameter("needs the losses of the fits: give --losses, too", param_hint="--other-run")
    with reporting(as_json, debug):
        from ..jobs import AnalysisOptions, analyse, read_spectrum
        from ..store import open_fits
        from ..store.errors import writing

        try:
            options = AnalysisOptions(weighting, outside, replicates=replicates, level=level, seed=seed)  # type: ignore[arg-type]
        except ValueError as error:
            field, _, rest = str(error).removeprefix("AnalysisOptions.").partition(": ")
            raise typer.BadParameter(rest, param_hint=f"--{field}") from None
        if out is not None:
            check_picture(out / f"{PICTURES[0]}.{ending}", "--format, --out")
            with writing(str(out), "a directory of this name", kept="Nothing was read."):
                out.mkdir(parents=True, exist_ok=True)
        console = output_console()
        store = open_fits(fits)
        groups = coordinates(store, by)
        with using_workers(cluster) as client:
            read = read_spectrum(store, losses, other_run=other_run, by=groups, bins=bins, client=client)
        analysis = analyse(read, options)
        said = {"fits": fits, "losses": losses, "other_run": other_run} | describe(analysis)
        said["pictures"] = draw(analysis, out, ending) if out is not None and analysis.events else []
        print_description(console, said)
        if said["pictures"]:
            say(console, "Written: " + ", ".join(said["pictures"]), "green")
        if as_json:
            write_json(said)


def coordinates(store: "FitStore", by: list[str] | None) -> list[str]:
    """What to group by: what was asked for, else the usual coordinates that the store has."""
    if by is None:
        return [name for name in _USUAL if name in store.token_coordinates]
    return [] if by == ["none"] else by


def draw(analysis: "Analysis", out: Path, ending: str = "png") -> list[str]:
    """Write the pictures into a directory and return their paths."""
    from .. import plots

    figures = [
        plots.draw_spectrum_parts(plots.spectrum_parts_data(analysis)),
        plots.draw_aligned_pulses(plots.aligned_pulses_data(analysis)),
        plots.draw_singular_spectrum(plots.singular_spectrum_data(analysis)),
    ]
    names: list[str] = list(PICTURES)
    for name in analysis.groups:
        figures.append(plots.draw_group_spectra(plots.group_spectra_data(analysis, name)))
        names.append(f"groups_{name}")
    files = [out / f"{name}.{ending}" for name in names]
    for figure, path in zip(figures, files, strict=True):
        plots.save(figure, path)
    return [str(path) for path in files]
