"""From a fit store to a spectrum: streamed, with groups of tokens and the mean loss in the same pass."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..curves import Family, Sigmoid
from ..lm import predict
from ..spectrum import GroupCounts, Spectrum, SpectrumGrid, block_rows
from ..spectrum.tallies import tally_on
from ..store import FitStore, LossStore, StoredFit, StoreError, StoreLike, open_fits, open_losses
from .evaluate import family_of
from .sequences import sequence_blocks, sequence_source
from .token_groups import Grouping, grouping_of

#: What a spectrum needs of a fit store; standard errors, rss and r2 stay on the disk.
_ARRAYS = ("learning_time", "sharpness", "loss_drop", "final_loss", "constant", "status", "category")
_LOSS_BYTES = 2**26


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums:
    """Sums over pairs of token and checkpoint with a finite loss and a finite fit, by resample group.

    Attributes:
        loss: (resamples, checkpoints) sums of the measured losses, nat.
        fit: (resamples, checkpoints) sums of the fits, nat: the curve or the constant, by `tsl_jax.curve_counts`.
        number: (resamples, checkpoints) pairs.
    """

    loss: np.ndarray
    fit: np.ndarray
    number: np.ndarray

    def mean_loss(self) -> np.ndarray:
        """(checkpoints,) mean of the measured losses, nat, float64; NaN where there are none."""
        return _mean(self.loss, self.number)

    def mean_fit(self) -> np.ndarray:
        """(checkpoints,) mean of the fits, nat, float64; NaN where there are none."""
        return _mean(self.fit, self.number)


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
        losses: sums for the mean loss and the mean of the fits; None without a loss store.
        axis: (checkpoints used,) axis values; `losses` has these columns.
        axis_name: such as ``"step"``.
        sequences: what the bootstrap takes as one: tokens of the same ``"sequence"`` (coordinate), runs of increasing
            ``"position"``, or each ``"token"`` by itself, with bands that are too narrow where tokens are alike.
    """

    spectrum: Spectrum
    groups: dict[str, TokenGroups]
    losses: LossSums | None
    axis: np.ndarray
    axis_name: str
    sequences: str


def spectrum_from_store(fits: StoreLike | FitStore, *, grid: SpectrumGrid | None = None) -> Spectrum:
    """The learning-time spectrum of a fit store of any size, streamed.

    Whole sequences are resampled together where the store knows them: by its coordinate `sequence`, else by where
    `position` stops increasing, else every token is its own.

    Args:
        fits: an open fit store of `tsl_jax.Sigmoid`, or whatever opens as one.
        grid: the bins; by default those of `tsl_jax.spectrum.SpectrumGrid` over the checkpoints that were fitted.

    Returns:
        `Spectrum`; tokens that are not fitted yet are counted as ``PENDING``.

    Raises:
        StoreError: no fit store, of another family, or a grid of another scale.
        ChunkError: a chunk is corrupted.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> step = np.geomspace(10, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.array([[100.0], [800.0]])) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> tsl.Spectrum.from_store(target).tokens["LEARNED"]
        2

    Source: arXiv 2606.29858.
    """
    return read_spectrum(fits, grid=grid).spectrum


def read_spectrum(
    fits: StoreLike | FitStore,
    losses: StoreLike | LossStore | None = None,
    *,
    by: Sequence[str] = (),
    bins: int = 8,
    grid: SpectrumGrid | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> StoreSpectrum:
    """Spectrum, groups and mean losses of a fit store of any size in one pass.

    Memory is bounded: the spectrum (80 MB by default), 0.5 MB a group, and one block of tokens.

    Args:
        fits: an open fit store of `tsl_jax.Sigmoid`, or whatever opens as one.
        losses: its loss store, likewise, if the spectrum is to be compared with the mean loss.
        by: token coordinates to group by; codes that the store names and numbers with few values are categories,
            others are cut at their quantiles.
        bins: number of groups of a number with many values.
        grid: the bins of the spectrum; by default those of `SpectrumGrid` over the checkpoints that were fitted.
        progress: called after each block with the tokens done and all tokens.

    Returns:
        `StoreSpectrum`.

    Raises:
        StoreError: no fit store, of another family, a grid of another scale, losses of another shape, or a coordinate
            that is not there.
        ChunkError: a chunk is corrupted.
        ValueError: fewer than 2 bins.

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
        _check_shape(losses, fits)
    columns, axis = _columns(fits), _axis(fits)
    grid = grid or grid_of(fits)
    if grid.scale != family.scale:
        raise StoreError(f"grid: got scale {grid.scale!r}, expected that of the fits {fits.name}, {family.scale!r}")
    groupings = {name: grouping_of(fits, name, bins) for name in dict.fromkeys(by)} if fits.num_tokens else {}
    tally_of = tally_on(jax.default_backend())
    tally = tally_of(grid, {name: len(one.labels) for name, one in groupings.items()})
    sums = LossSums(*np.zeros((3, grid.resamples, len(columns)))) if losses is not None else None
    length = min(tally_of.most, 1 << max(fits.num_tokens - 1, 0).bit_length())
    for part, sequence in sequence_blocks(fits, length):
        stored = _read(fits, part)
        rows = block_rows(stored.params, stored.constant, stored.status, stored.category, sequence)
        numbers = {name: grouping.of(fits.read_coordinate(name, part)) for name, grouping in groupings.items()}
        resample = tally.add(rows, length, numbers)
        if sums is not None:
            assert isinstance(losses, LossStore)
            _add_losses(sums, losses, part, family, axis, columns, stored, resample)
        if progress:
            progress(part.stop, fits.num_tokens)
    groups = {name: TokenGroups(grouping, tally.counts(name)) for name, grouping in groupings.items()}
    return StoreSpectrum(tally.spectrum(), groups, sums, axis, fits.axis_name, sequence_source(fits))


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


def _check_shape(losses: LossStore, fits: FitStore) -> None:
    shape = (fits.num_tokens, fits.num_checkpoints)
    if losses.losses.shape != shape:
        raise StoreError(
            f"losses: {losses.name} has shape {losses.losses.shape}, the fits {fits.name} were made from {shape}"
        )


def _read(fits: FitStore, part: slice) -> StoredFit:
    values = {name: fits.read_array(fits.arrays[name], part.start, part.stop) for name in _ARRAYS}
    nothing = np.empty(0)
    return StoredFit(
        params={name: values[name] for name in Sigmoid().names},
        stderr={},
        rss=nothing,
        r2=nothing,
        num_points=nothing,
        status=values["status"],
        category=values["category"],
        constant=values["constant"],
    )


def _add_losses(
    sums: LossSums,
    losses: LossStore,
    part: slice,
    family: Family,
    axis: np.ndarray,
    columns: np.ndarray,
    stored: StoredFit,
    resample: np.ndarray,
) -> None:
    """Add measured losses and fits of some tokens to the sums, a few million losses at a time."""
    piece = max(1, _LOSS_BYTES // (16 * losses.num_checkpoints))
    for start in range(part.start, part.stop, piece):
        rows = slice(start, min(start + piece, part.stop))
        here = slice(rows.start - part.start, rows.stop - part.start)
        measured = losses.read(rows)[:, columns]
        length = min(piece, part.stop - part.start)
        padded = [
            np.pad(values[here], (0, length - len(measured)))
            for values in (*stored.params.values(), stored.constant, stored.status, stored.category, resample)
        ]
        measured = np.pad(measured, ((0, length - len(measured)), (0, 0)), constant_values=np.nan)
        added = _loss_sums(family, len(sums.loss), jnp.asarray(axis, jnp.float32), measured, *padded)
        for total, values in zip((sums.loss, sums.fit, sums.number), added, strict=True):
            total += np.asarray(values, np.float64)


def _sums(family, resamples, axis, measured, learning_time, sharpness, drop, final, constant, status, category, group):
    names = family.names
    params = dict(zip(names, (learning_time, sharpness, drop, final), strict=True))
    fitted = predict(family, axis, params, status, category, constant)
    measured = measured.astype(jnp.float32)
    pairs = jnp.isfinite(measured) & jnp.isfinite(fitted)
    # Sums of some thousand float32 a group; the totals are float64.
    return tuple(
        jax.ops.segment_sum(jnp.where(pairs, values, 0), group, resamples)
        for values in (measured, fitted, jnp.ones_like(fitted))
    )


_loss_sums = jax.jit(_sums, static_argnums=(0, 1))


def _mean(sums: np.ndarray, number: np.ndarray) -> np.ndarray:
    total, count = sums.sum(0), number.sum(0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
