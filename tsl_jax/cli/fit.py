"""`tsl fit`: from a loss store to a fit store."""

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import typer

from . import fit_options as given
from .console import Debug, ExitCode, Json, reporting, write_json
from .devices import chosen_devices
from .groups import grouped
from .progress import showing_progress
from .streams import output_console, say
from .summary import print_summary, warn_of_slow_fits
from .workers import Cluster, using_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..curves import Family
    from ..fitting import FitOptions, NoiseModel
    from ..jobs import FitSummary


@grouped
def fit(
    losses: given.Losses,
    fits: given.Fits,
    family: given.Curve = "sigmoid",
    scale: given.Scale = None,
    axis: given.Axis = "step",
    min_plateau: given.MinPlateau = 0.0,
    max_plateau_ratio: given.MaxPlateauRatio = None,
    noise: given.Noise = "estimate",
    event_test: given.EventTest = "f_test",
    significance: given.Significance = 0.01,
    huber_threshold: given.HuberThreshold = None,
    max_steps: given.MaxSteps = 128,
    starts: given.Starts = 2,
    tolerance: given.Tolerance = None,
    block_size: given.BlockSize = None,
    kernel: given.Kernel = "auto",
    memory: given.Memory = None,
    devices: given.Devices = None,
    on_bad_chunk: given.OnBadChunk = "stop",
    missing_chunks: given.MissingChunks = "refuse",
    deep: given.Deep = False,
    overwrite: given.Overwrite = False,
    *,
    cluster: Cluster,
    part: given.Part = None,
    of: given.Of = None,
    mixed_hardware: given.MixedHardware = False,
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
        from ..jobs import fit_store

        chosen = _family(family, scale)
        options = _options(
            min_plateau=min_plateau,
            max_plateau_ratio=max_plateau_ratio,
            noise="independent" if noise == "independent" else "correlated",
            event_test=event_test,
            significance=significance,
            huber_threshold=huber_threshold,
            max_steps=max_steps,
            starts=starts,
            tolerance=tolerance,
            block_size=block_size,
            kernel=kernel,
        )
        arguments = {"axis": axis, "options": options, "memory": memory, "overwrite": overwrite, "deep": deep}
        arguments |= {"on_bad_chunk": on_bad_chunk, "missing_chunks": missing_chunks}
        arguments |= {"mixed_hardware": mixed_hardware}
        arguments |= _arguments(devices, cluster.wanted, noise, part, of)
        with using_workers(cluster) as client, showing_progress() as show, _naming_other_fits(noise):
            summary = fit_store(losses, fits, chosen, **arguments, progress=show, client=client)
        print_summary(output_console(), summary)
        warn_of_slow_fits(summary, asked=kernel)
        say(output_console(), f"Fits: {fits}")
        if as_json:
            _write(summary, losses=losses, fits=fits, family=chosen.name, scale=chosen.scale, axis=axis)
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


def _arguments(devices: int | None, elsewhere: bool, noise: str, part: int | None, of: int | None) -> dict[str, Any]:
    """Arguments of `fit_store` that are made of what is given; unless it runs elsewhere, on devices of this machine."""
    where = devices if elsewhere else chosen_devices(devices)
    return {"devices": where, "noise": _noise(noise), "part": _part(part, of)}


def _write(summary: "FitSummary", **asked: Any) -> None:
    """What was asked for and what came of it, as JSON."""
    write_json(asked | summary.as_dict())


def _part(part: int | None, of: int | None) -> tuple[int, int] | None:
    if part is None and of is None:
        return None
    if part is None or of is None or not 0 <= part < of:
        raise typer.BadParameter(
            f"got --part {part} --of {of}, expected both, with part from 0 to one less than of", param_hint="--part"
        )
    return part, of


def _noise(name: str) -> "Literal['estimate'] | NoiseModel | None":
    """What `fit_store` is asked for."""
    from ..jobs import noise_of_fits
    from ..store import StoreError, StoreNotFoundError

    if name in ("estimate", "independent"):
        return "estimate"
    try:
        return None if name == "alone" else noise_of_fits(name)
    except StoreNotFoundError as error:
        raise StoreError(
            f"--noise: got {name!r}, expected estimate, alone, independent or other fits. {error}"
        ) from error


@contextlib.contextmanager
def _naming_other_fits(noise: str) -> "Iterator[None]":
    """Say where a model came from that does not fit."""
    from ..store import StoreError

    try:
        yield
    except ValueError as error:
        if not str(error).startswith("noise: the model is for"):
            raise
        raise StoreError(f"--noise {noise}: {str(error).removeprefix('noise: ')}") from error


def _options(**values: Any) -> "FitOptions":
    from ..fitting import FitOptions

    try:
        return FitOptions(**values)
    except ValueError as error:
        field, _, rest = str(error).removeprefix("FitOptions.").partition(": ")
        raise typer.BadParameter(rest, param_hint=f"--{field.replace('_', '-')}") from None
