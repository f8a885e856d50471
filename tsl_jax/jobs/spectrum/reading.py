"""From a fit store to a spectrum: streamed, with groups of tokens and the mean loss in the same pass."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...curves import Sigmoid
from ...spectrum import GroupCounts, Spectrum, SpectrumGrid, TimeErrors
from ...store import FitStore, LossStore, StoreError, StoreLike, open_fits, open_losses
from ...stream.parts import sequence_parts, sequence_source
from ...stream.passes import run_pass
from ..positions import PositionLosses, PositionSums
from ..predict import family_of
from .losses import LossSums, check_shape, open_other_run
from .token_groups import Grouping, grouping_of
from .tokens import SpectrumPass


@dataclasses.dataclass(frozen=True)
class TokenGroups:
    """Events by group of tokens.

    Attributes:
        grouping: the coordinate and its groups.
        counts: their events; the last row are tokens of no group.
    """

    grouping: Grouping
    counts: GroupCounts


@dataclasses.dataclass(frozen=True)
class StoreSpectrum:
    """What one pass over a fit store, and over its losses if given, brings.

    Attributes:
        spectrum: of all tokens.
        groups: by the name of the token coordinate.
        errors: of the learning times.
        losses: sums for the mean loss and the mean of the fits; None without a loss store.
        axis: (checkpoints used,) axis values; `losses` has these columns.
        axis_name: such as ``"step"``.
        sequences: what the bootstrap takes as one: tokens of the same ``"sequence"`` (coordinate), runs of increasing
            ``"position"``, or each ``"token"`` by itself, with bands that are too narrow where tokens are alike.
        positions: losses by position, where they were asked for.
    """

    spectrum: Spectrum
    groups: dict[str, TokenGroups]
    errors: TimeErrors
    losses: LossSums | None
    axis: np.ndarray
    axis_name: str
    sequences: str
    positions: PositionLosses | None = None


def spectrum_of(fits: StoreLike | FitStore, *, grid: SpectrumGrid | None = None, client: Any = None) -> Spectrum:
    """The learning-time spectrum of a fit store of any size, streamed.

    Whole sequences are resampled together where the store knows them: by its coordinate `sequence`, else by where
    `position` stops increasing, else every token is its own.

    Args:
        fits: an open fit store of `tsl_jax.Sigmoid`, or whatever opens as one.
        grid: the bins; by default those of `tsl_jax.spectrum.SpectrumGrid` over the checkpoints that were fitted.
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `Spectrum`; tokens that are not fitted yet are counted as ``PENDING``.

    Raises:
        StoreError: no fit store, of another family, or a grid of another scale.
        ChunkError: a chunk is corrupted.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> from tsl_jax.jobs import simulate_store
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = simulate_store(source, np.geomspace(10, 1e4, 32), tokens=256)
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> tsl.spectrum_of(target).tokens["LEARNED"] > 128
        True

    Source: arXiv 2606.29858.
    """
    return read_spectrum(fits, grid=grid, client=client).spectrum


def read_spectrum(
    fits: StoreLike | FitStore,
    losses: StoreLike | LossStore | None = None,
    *,
    other_run: StoreLike | LossStore | None = None,
    by: Sequence[str] = (),
    bins: int = 8,
    grid: SpectrumGrid | None = None,
    positions: PositionSums | None = None,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> StoreSpectrum:
    """Spectrum, groups and mean losses of a fit store of any size in one pass.

    Memory is bounded: the spectrum (80 MB by default), 0.5 MB a group, and one block of tokens.

    Args:
        fits: an open fit store of `tsl_jax.Sigmoid`, or whatever opens as one.
        losses: its loss store, likewise, if the spectrum is to be compared with the mean loss.
        other_run: losses of the same tokens at the same checkpoints in another training run, likewise, to know how far
            the derivative of the mean loss moves from run to run; needs ``losses``.
        by: token coordinates to group by; codes that the store names and numbers with few values are categories,
            others are cut at their quantiles.
        bins: number of groups of a number with many values.
        grid: the bins of the spectrum; by default those of `SpectrumGrid` over the checkpoints that were fitted.
        positions: of `tsl_jax.jobs.positions.position_sums` over ``losses``: the same walk brings `position_losses`.
        progress: called after each block with the tokens done and all tokens.
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `StoreSpectrum`.

    Raises:
        StoreError: no fit store, of another family, a grid of another scale, losses of another shape, another run of
            other tokens or checkpoints, or a coordinate that is not there.
        ChunkError: a chunk is corrupted.
        ValueError: fewer than 2 bins, or another run without losses.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> step = np.geomspace(10, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.array([[100.0], [800.0]])) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> tokens = {"domain": np.array([0, 1], "int8")}
        >>> _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step}, tokens=tokens)
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> read = read_spectrum(target, source, by=["domain"])
        >>> read.groups["domain"].grouping.labels, float(read.losses.mean_loss()[0].round(2))
        (('0', '1'), 6.0)
    """
    fits = fits if isinstance(fits, FitStore) else open_fits(fits)
    family = _sigmoid_of(fits)
    if bins < 2:
        raise ValueError(f"bins: got {bins}, expected at least 2")
    if losses is not None:
        losses = losses if isinstance(losses, LossStore) else open_losses(losses)
        check_shape(losses, fits)
    other_run = open_other_run(other_run, losses, fits)
    columns, axis = _columns(fits), _axis(fits)
    grid = grid or grid_of(fits)
    if grid.scale != family.scale:
        raise StoreError(f"grid: got scale {grid.scale!r}, expected that of the fits {fits.name}, {family.scale!r}")
    groupings = {name: grouping_of(fits, name, bins) for name in dict.fromkeys(by)} if fits.num_tokens else {}
    job = SpectrumPass(fits, family, grid, groupings, (losses, other_run), columns, positions)
    sums = run_pass(job, sequence_parts(fits, job.rows), progress=progress, client=client)
    groups = {name: TokenGroups(grouping, sums.tally.counts(name)) for name, grouping in groupings.items()}
    return StoreSpectrum(
        *(sums.tally.spectrum(), groups, sums.errors, sums.losses),
        *(axis, fits.axis_name, sequence_source(fits), sums.positions),
    )


def grid_of(fits: FitStore) -> SpectrumGrid:
    """The bins that `read_spectrum` takes for a fit store of sigmoids by default."""
    axis = _axis(fits)
    return SpectrumGrid(float(axis[0]), float(axis[-1]), _sigmoid_of(fits).scale)


def _columns(fits: FitStore) -> np.ndarray:
    return np.setdiff1d(np.arange(fits.num_checkpoints), fits.left_out_checkpoints)


def _axis(fits: FitStore) -> np.ndarray:
    return fits.axis()[_columns(fits)]


def _sigmoid_of(fits: FitStore) -> Sigmoid:
    if fits.family != Sigmoid.name:
        raise StoreError(
            f"{fits.name}: family {fits.family!r} has no single event a curve to make a spectrum of; expected "
            f"{Sigmoid.name!r}. Fit the losses with tsl.Sigmoid() (tsl fit --family sigmoid)."
        )
    family = family_of(fits)
    assert isinstance(family, Sigmoid)
    return family
