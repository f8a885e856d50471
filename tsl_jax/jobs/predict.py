"""Fit stores evaluated: predictions for tokens, and the mean of all fits beside the mean loss."""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np

from ..curves import FAMILIES, Family
from ..curves.parts import in_parts
from ..fitting import predict
from ..fitting.far import split_event
from ..store import FitStore, LossStore, StoredFit, StoreError, StoreLike
from ..stream.parts import Part
from ..stream.passes import run_pass
from ..stream.sending import check_sent
from ..stream.workers import workers_of
from .group_sums import GroupSums, TwoSums, loss_parts
from .in_memory import MemoryFits, MemoryLosses, fits_source, losses_source


@dataclasses.dataclass(frozen=True)
class MeanCurves:
    """Mean loss and mean of the fits over the same (token, checkpoint) pairs, all arrays (checkpoints,).

    Attributes:
        axis: values of the axis.
        mean_loss: mean of the measured losses, nat.
        mean_fit: mean of the fits, nat: for each token the curve or the constant, by
            `tsl_jax.fitting.curve_counts`.
        num_tokens: pairs at each checkpoint: tokens with a finite loss and a finite fit there.
    """

    axis: np.ndarray
    mean_loss: np.ndarray
    mean_fit: np.ndarray
    num_tokens: np.ndarray


def family_of(fits: FitStore | MemoryFits) -> Family:
    """The family object of fits.

    Raises:
        StoreError: it is none of `tsl_jax.curves.FAMILIES`.
    """
    if isinstance(fits, MemoryFits):
        return fits.fit.family
    if fits.family not in FAMILIES:
        raise StoreError(
            f"{fits.name}: family {fits.family!r} is none of {', '.join(FAMILIES)}; pass your Family object as family"
        )
    return FAMILIES[fits.family](**fits.attributes.get("family_fields", {}))


def predict_store(
    fits: StoreLike | FitStore | MemoryFits,
    time: np.ndarray | None = None,
    tokens: slice = slice(None),
    *,
    kind: Literal["counted", "curve", "constant"] = "counted",
    family: Family | None = None,
    client: Any = None,
) -> np.ndarray:
    """Fitted losses of consecutive tokens of a fit store.

    Args:
        fits: an open fit store, or whatever opens as one.
        time: (times,) axis values; by default the checkpoints.
        tokens: which tokens.
        kind: for each token the curve or constant that counts, or all curves, or all constants; see
            `Fit.predict`.
        family: needed only for a family of your own.
        client: evaluate in the workers of a cluster; see `tsl_jax.fit_store`. All losses come back.

    Returns:
        (tokens, times) losses in nat; NaN for tokens without usable data or not fitted yet.

    Raises:
        StoreError: the fits are no valid fit store, or of a family that must be given.
        ValueError: an unknown ``kind``.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.curves import Sigmoid
        >>> from tsl_jax.jobs import fit_store
        >>> from tsl_jax.store import create_losses
        >>> step = np.geomspace(10, 1e4, 32)
        >>> truth = {"learning_time": 300.0, "sharpness": 3.0, "loss_drop": 5.0, "final_loss": 1.0}
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = create_losses(source, np.asarray(Sigmoid().curve(step, truth))[None], checkpoints={"step": step})
        >>> _ = fit_store(source, target, Sigmoid())
        >>> predict_store(target, [300.0]).round(2).tolist()
        [[3.5]]
    """
    fits = fits_source(fits)
    time, (start, stop) = fits.axis() if time is None else np.asarray(time), fits.rows(tokens)
    starts = range(start, stop, _PART_TOKENS)
    parts = [slice(first, min(first + _PART_TOKENS, stop)) for first in starts] or [slice(start, start)]
    predicted = PredictedPart(fits, family or family_of(fits), time, kind)
    workers = workers_of(client)
    if workers is None:
        return np.concatenate([predicted(part) for part in parts])
    for field in dataclasses.fields(predicted):
        check_sent(field.name, getattr(predicted, field.name), workers.dumps)
    found = dict(workers.each(predicted, parts, name="tsl-predict", again=_as_it_is))
    return np.concatenate([found[index] for index in range(len(parts))])


#: Tokens that are evaluated together, wherever: the bits of a curve may depend on how many are.
_PART_TOKENS = 2**18


@dataclasses.dataclass(frozen=True)
class PredictedPart:
    """`predict_store` of some tokens, in any process.

    Attributes:
        fits: an open fit store.
        family: of the fits.
        time: (times,) axis values.
        kind: see `predict_store`.
    """

    fits: FitStore | MemoryFits
    family: Family
    time: np.ndarray
    kind: str

    def __call__(self, tokens: slice) -> np.ndarray:
        """(tokens, times) losses in nat."""
        return np.asarray(predict_stored(self.family, self.time, self.fits.read(tokens), self.kind))


def _as_it_is(part: slice) -> slice:
    return part


def mean_curves(
    losses: StoreLike | LossStore | MemoryLosses,
    fits: StoreLike | FitStore | MemoryFits,
    *,
    family: Family | None = None,
    client: Any = None,
) -> MeanCurves:
    """Mean loss and mean of the fits at every checkpoint, streamed; sums are float64.

    Only pairs of token and checkpoint with a finite loss and a finite fit enter both means, so that they
    compare.

    Args:
        losses: an open loss store, or whatever opens as one.
        fits: its fit store, likewise.
        family: needed only for a family of your own.
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `MeanCurves`, NaN at checkpoints without a pair.

    Raises:
        StoreError: the two stores do not belong together.

    Example:
        >>> from tsl_jax.curves import Sigmoid
        >>> from tsl_jax.jobs import fit_store
        >>> from tsl_jax.store import create_losses
        >>> import numpy as np, zarr
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> losses = np.repeat([[2.0], [4.0]], 32, axis=1)
        >>> _ = create_losses(source, losses.astype("float32"), checkpoints={"step": np.geomspace(10, 1e4, 32)})
        >>> _ = fit_store(source, target, Sigmoid())
        >>> means = mean_curves(source, target)
        >>> float(means.mean_loss[0]), float(means.mean_fit[0]), int(means.num_tokens[0])
        (3.0, 3.0, 2)
    """
    fits = fits_source(fits)
    losses = losses_source(losses, fits)
    return run_pass(MeansOfFits(losses, fits, family or family_of(fits)), loss_parts(losses), client=client)


@dataclasses.dataclass(frozen=True)
class MeansOfFits:
    """The pass over losses and their fits: sums of both over the pairs of token and checkpoint that both have.

    Attributes:
        losses: an open loss store.
        fits: its fit store.
        family: of the fits.
    """

    losses: LossStore | MemoryLosses
    fits: FitStore | MemoryFits
    family: Family

    def read(self, part: Part) -> tuple[np.ndarray, StoredFit]:
        """Losses and fits of some tokens."""
        return self.losses.read(part.tokens).astype(np.float32), self.fits.read(part.tokens)

    def start(self) -> TwoSums:
        """Sums of no tokens."""
        return GroupSums.zeros(1, self.losses.num_checkpoints), GroupSums.zeros(1, self.losses.num_checkpoints)

    def add(self, sums: TwoSums, block: tuple[np.ndarray, StoredFit]) -> TwoSums:
        """Sums with more tokens."""
        measured, stored = block
        fitted = np.asarray(predict_stored(self.family, self.fits.axis(), stored, "counted"))
        pairs, one_group = np.isfinite(measured) & np.isfinite(fitted), np.zeros(len(measured), np.int64)
        for total, values in zip(sums, (measured, fitted), strict=True):
            total.add(np.where(pairs, values, np.nan), one_group)
        return sums

    def merge(self, one: TwoSums, other: TwoSums) -> TwoSums:
        """Sums of both."""
        return one[0].merge(other[0]), one[1].merge(other[1])

    def finish(self, sums: TwoSums) -> MeanCurves:
        """The means."""
        return MeanCurves(self.fits.axis(), sums[0].mean()[0], sums[1].mean()[0], sums[0].count[0])


def predict_stored(family: Family, time: np.ndarray, stored: StoredFit, kind: str) -> jax.Array:
    """Losses (tokens, times) of fits that were read, nat; ``kind`` as in `predict_store`."""
    params, low = split_event(family, stored.params)
    fits = params, stored.status, stored.category, stored.constant
    return _predict_jitted(family, time if low is None else in_parts(time), *fits, kind, low)


_predict_jitted = jax.jit(predict, static_argnums=(0, 6))
