"""`tsl fit`: from a loss store to a fit store."""

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import parsing
from .console import Debug, ExitCode, Json, reporting, say, stderr_console, write_json
from .progress import showing_progress
from .summary import print_summary

if TYPE_CHECKING:
    from ..curves import Family
    from ..lm import FitOptions


class FamilyName(enum.StrEnum):
    """`tsl_jax.FAMILIES`, without importing it."""

    sigmoid = "sigmoid"
    hyperbola = "hyperbola"
    power_law = "power_law"


class Scale(enum.StrEnum):
    """Coordinates in which a curve is fitted."""

    log = "log"
    linear = "linear"


class EventTest(enum.StrEnum):
    """Tests of a sigmoid against a constant."""

    f_test = "f_test"
    bic = "bic"


class OnBadChunk(enum.StrEnum):
    """What a chunk that cannot be read does."""

    stop = "stop"
    skip = "skip"


_CURVE, _TEST, _SOLVER, _RUN = "Curve", "Category of sigmoids", "Solver", "Run"


def _option(panel: str, help: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **kwargs)


def fit(
    losses: Annotated[
        str,
        typer.Argument(metavar="LOSSES", help="Loss store: a directory, a zip file or a URL.", show_default=False),
    ],
    fits: Annotated[
        str,
        typer.Argument(
            metavar="FITS",
            help="Fit store to write or to go on with: a directory or a URL.",
            show_default=False,
        ),
    ],
    family: Annotated[FamilyName, _option(_CURVE, "Curve to fit to every token.")] = FamilyName.sigmoid,
    scale: Annotated[
        Scale | None,
        _option(
            _CURVE,
            "Coordinate of the fit: the logarithm of the axis, or the axis. Only sigmoid has both.",
            show_default="log; linear for hyperbola",
        ),
    ] = None,
    axis: Annotated[
        str,
        _option(_CURVE, "Axis: a checkpoint coordinate that increases, such as step, tokens_seen or lr_sum."),
    ] = "step",
    min_plateau: Annotated[
        float | None,
        _option(
            _CURVE,
            "Least value of both plateaus, nat; none leaves them free.",
            parser=parsing.number_or_none,
            metavar="NAT|none",
        ),
    ] = 0.0,
    max_plateau_ratio: Annotated[
        float | None,
        _option(
            _CURVE,
            "Greatest value of the plateaus, as a multiple of the first measured loss; none: no limit.",
            parser=parsing.number_or_none,
            metavar="RATIO|none",
            show_default="none",
        ),
    ] = None,
    event_test: Annotated[
        EventTest, _option(_TEST, "How a sigmoid is tested against a constant: an F test, or BIC.")
    ] = EventTest.f_test,
    significance: Annotated[
        float, _option(_TEST, "Level of the F test: probability of calling white noise an event.")
    ] = 0.01,
    huber_threshold: Annotated[
        float | None,
        _option(
            _SOLVER,
            "Residuals beyond this many standard deviations of the noise count less; none: least squares.",
            parser=parsing.number_or_none,
            metavar="SIGMAS|none",
            show_default="none",
        ),
    ] = None,
    max_steps: Annotated[int, _option(_SOLVER, "Most Levenberg-Marquardt steps per token and start.")] = 128,
    starts: Annotated[int, _option(_SOLVER, "Most starts for a token whose best fit is in doubt.")] = 4,
    tolerance: Annotated[
        float | None,
        _option(
            _SOLVER,
            "Converged when the next step would lower the sum of squares by less than this fraction.",
            parser=parsing.number_or_none,
            metavar="FRACTION|none",
            show_default="none: 1e-6 in float32, 1e-12 in float64",
        ),
    ] = None,
    block_size: Annotated[
        int | None,
        _option(_SOLVER, "Tokens fitted together on a device.", show_default="picked for the device"),
    ] = None,
    memory: Annotated[
        int | None,
        _option(
            _RUN,
            "Host memory for the blocks in flight, bytes or with a unit, such as 4GiB.",
            parser=parsing.memory,
            metavar="SIZE",
            show_default="1GiB",
        ),
    ] = None,
    devices: Annotated[int | None, _option(_RUN, "How many of the local devices to use.", show_default="all")] = None,
    on_bad_chunk: Annotated[
        OnBadChunk,
        _option(
            _RUN,
            "At a chunk of the losses that cannot be read: stop, or skip its tokens and end with code 3.",
        ),
    ] = OnBadChunk.stop,
    overwrite: Annotated[
        bool, _option(_RUN, "Delete the fits that are there and begin anew; off by default.", "--overwrite")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit a curve to every token of LOSSES and write FITS, at any size.

    Kill it at any moment and run the same command again: it goes on where it was. Fits that were begun from
    other losses or with other options are refused, and what differs is said.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 3 finished, but chunks
    that cannot be read were skipped (--on-bad-chunk skip); 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        chosen = _family(family.value, scale.value if scale else None)
        options = _options(
            min_plateau=min_plateau,
            max_plateau_ratio=max_plateau_ratio,
            event_test=event_test.value,
            significance=significance,
            huber_threshold=huber_threshold,
            max_steps=max_steps,
            starts=starts,
            tolerance=tolerance,
            block_size=block_size,
        )
        from ..pipeline import fit_store

        console = stderr_console()
        with showing_progress(console) as show:
            summary = fit_store(
                losses,
                fits,
                chosen,
                axis=axis,
                options=options,
                memory=memory,
                devices=_devices(devices),
                on_bad_chunk=on_bad_chunk.value,
                overwrite=overwrite,
                progress=show,
            )
        print_summary(console, summary)
        said = {"losses": losses, "fits": fits, "family": chosen.name, "scale": chosen.scale, "axis": axis}
        say(console, f"Fits: {fits}")
        if as_json:
            write_json(said | summary.as_dict())
    if not summary.complete:
        raise typer.Exit(ExitCode.BAD_CHUNKS)


def _family(name: str, scale: str | None) -> "Family":
    from ..curves import FAMILIES, Sigmoid

    if name == Sigmoid.name:
        return Sigmoid() if scale is None else Sigmoid(scale=scale)  # type: ignore[arg-type]
    family = FAMILIES[name]()
    if scale not in (None, family.scale):
        raise typer.BadParameter(
            f"got {scale!r}, expected {family.scale!r}, the only scale of {name}; leave it out",
            param_hint="--scale",
        )
    return family


def _options(**values: Any) -> "FitOptions":
    from ..lm import FitOptions

    try:
        return FitOptions(**values)
    except ValueError as error:
        field, _, rest = str(error).removeprefix("FitOptions.").partition(": ")
        raise typer.BadParameter(rest, param_hint=f"--{field.replace('_', '-')}") from None


def _devices(number: int | None) -> Any:
    if number is None:
        return None
    import jax

    there = jax.local_devices()
    if not 1 <= number <= len(there):
        raise typer.BadParameter(
            f"got {number}, expected 1 to {len(there)}, the devices that are here ({there[0].device_kind})",
            param_hint="--devices",
        )
    return there[:number]
