"""The options of `tsl fit`: what each may be, its panel and its help. Their defaults stand at the command."""

from typing import Annotated, Any, Literal

import typer

from . import parsing

#: Coordinates in which a curve is fitted.
ScaleName = Literal["log", "linear"]
#: What a chunk is that is not stored.
MissingChunksAction = Literal["refuse", "as-nan", "as-fill"]

_CURVE, _TEST, _SOLVER, _RUN = "Curve", "Errors, and category of sigmoids", "Solver", "Run"


def _option(panel: str, help: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **kwargs)


def _number_or_none(panel: str, help: str, metavar: str, **kwargs: Any) -> Any:
    return _option(panel, help, parser=parsing.number_or_none, metavar=f"{metavar}|none", **kwargs)


Losses = Annotated[
    str, typer.Argument(metavar="LOSSES", help="Loss store: a directory, a zip file or a URL.", show_default=False)
]
Fits = Annotated[
    str,
    typer.Argument(
        metavar="FITS", help="Fit store to write or to go on with: a directory or a URL.", show_default=False
    ),
]
Curve = Annotated[Literal["sigmoid", "hyperbola", "power_law"], _option(_CURVE, "Curve to fit to every token.")]
Scale = Annotated[
    ScaleName | None,
    _option(
        _CURVE,
        "Coordinate of the fit: the logarithm of the axis, or the axis. Only sigmoid has both.",
        show_default="log; linear for hyperbola",
    ),
]
Axis = Annotated[
    str, _option(_CURVE, "Axis: a checkpoint coordinate that increases, such as step, tokens_seen or lr_sum.")
]
MinPlateau = Annotated[
    float | None, _number_or_none(_CURVE, "Least value of both plateaus, nat; none leaves them free.", "NAT")
]
MaxPlateauRatio = Annotated[
    float | None,
    _number_or_none(
        _CURVE,
        "Greatest value of the plateaus, as a multiple of the first measured loss; none: no limit.",
        "RATIO",
        show_default="none",
    ),
]
EventTest = Annotated[
    Literal["f_test", "bic"], _option(_TEST, "How a sigmoid is tested against a constant: an F test, or BIC.")
]
Significance = Annotated[float, _option(_TEST, "Level of the F test: probability of calling white noise an event.")]
HuberThreshold = Annotated[
    float | None,
    _number_or_none(
        _SOLVER,
        "Residuals beyond this many standard deviations of the noise count less; none: least squares.",
        "SIGMAS",
        show_default="none",
    ),
]
Noise = Annotated[
    str,
    _option(
        _TEST,
        "What errors and categories take the noise for: estimate, correlated as a sample of the tokens shows, which is "
        "recorded; alone, as each token's own residuals show; independent; or other FITS of the same checkpoints, "
        "whose recorded noise is taken.",
        metavar="estimate|alone|independent|FITS",
    ),
]
MaxSteps = Annotated[int, _option(_SOLVER, "Most Levenberg-Marquardt steps per token and start.")]
Starts = Annotated[int, _option(_SOLVER, "Most starts for a token whose best fit is in doubt.")]
Tolerance = Annotated[
    float | None,
    _number_or_none(
        _SOLVER,
        "Converged when the next step would lower the sum of squares by less than this fraction.",
        "FRACTION",
        show_default="none: 1e-6 in float32, 1e-12 in float64",
    ),
]
BlockSize = Annotated[
    int | None, _option(_SOLVER, "Tokens fitted together on a device.", show_default="picked for the device")
]
Kernel = Annotated[
    Literal["auto", "native", "xla"],
    _option(
        _SOLVER,
        "What fits: native, in C++ for CPUs and NVIDIA's GPUs, built the first time it is used; xla, on any device; "
        "auto, on a CPU the native one where it can be had, else xla.",
    ),
]
Memory = Annotated[
    int | None,
    _option(
        _RUN,
        "Host memory for the blocks in flight, bytes or with a unit, such as 4GiB.",
        parser=parsing.memory,
        metavar="SIZE",
        show_default="1GiB",
    ),
]
Devices = Annotated[int | None, _option(_RUN, "How many of the local devices to use.", show_default="all")]
OnBadChunk = Annotated[
    Literal["stop", "skip"],
    _option(_RUN, "At a chunk of the losses that cannot be read: stop, or skip its tokens and end with code 3."),
]
MissingChunks = Annotated[
    MissingChunksAction,
    _option(
        _RUN,
        "What chunks of the losses are that are not stored: lost (refuse), losses that were not measured (as-nan), or "
        "that and coordinates of the fill value, mostly 0 (as-fill).",
    ),
]
Deep = Annotated[
    bool,
    _option(
        _RUN,
        "Read the fits of finished blocks back, and fit those anew that are not what was written; off by default: only "
        "lost, empty and cut objects are looked for.",
        "--deep",
    ),
]
Overwrite = Annotated[
    bool, _option(_RUN, "Delete the fits that are there and begin anew; off by default.", "--overwrite")
]
Part = Annotated[
    int | None,
    _option(
        "Workers",
        "Fit only this part of the tokens, counted from 0; the tasks of a job array fit the others at the same time.",
        "--part",
        metavar="K",
        show_default="all",
    ),
]
Of = Annotated[int | None, _option("Workers", "Of so many parts.", "--of", metavar="N", show_default="none")]
MixedHardware = Annotated[
    bool,
    _option(
        "Workers",
        "Allow devices, processors or builds of the kernel of several kinds, whose fits may differ in the last bits; "
        "off by default.",
        "--mixed-hardware",
    ),
]
