"""Sums of losses and fits over tokens, for the mean loss and what the fits leave of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...curves import Family
from ...curves.parts import Parts, in_parts
from ...fitting import curve_counts, predict
from ...fitting.far import split_event
from ...pytrees import pytree
from ...store import FitStore, LossStore, StoredFit, StoreError, StoreLike, open_losses

#: Bytes of losses and fits that are added at once, and of those that a CPU adds at once: its caches hold them, and so
#: does the allocator, which makes the sums six times as fast as from fresh memory.
_LOSS_BYTES, _CPU_BYTES = 2**26, 2**24
#: A second event is likely above this probability.
_LIKELY = 0.5
#: Coordinates that tokens of two runs share.
_SAME = {"sequence", "position", "token_id"}


@pytree
class LossSums:
    """Sums over pairs of token and checkpoint with a finite loss and a finite fit, by resample group.

    Attributes:
        loss: (resamples, checkpoints) sums of the measured losses, nat.
        fit: (resamples, checkpoints) sums of the fits, nat: the curve or the constant, by `tsl_jax.curve_counts`.
        number: (resamples, checkpoints) pairs.
        second_gap: (resamples, checkpoints) sums of loss minus fit, nat, of tokens with a likely second event.
        second_number: (resamples, checkpoints) pairs of these tokens.
        constant_gap: (resamples, checkpoints) sums of loss minus constant, nat, of tokens whose constant counts.
        other: (resamples, checkpoints) sums of the losses of another run over pairs that both have; None without one.
        own: (resamples, checkpoints) those of this run over the same pairs; likewise.
        both: (resamples, checkpoints) such pairs; likewise.
    """

    loss: np.ndarray
    fit: np.ndarray
    number: np.ndarray
    second_gap: np.ndarray
    second_number: np.ndarray
    constant_gap: np.ndarray
    other: np.ndarray | None = None
    own: np.ndarray | None = None
    both: np.ndarray | None = None

    @classmethod
    def zeros(cls, resamples: int, checkpoints: int, *, other_run: bool = False) -> "LossSums":
        """Of no tokens."""
        names = [field.name for field in dataclasses.fields(cls)]
        names = names if other_run else names[:6]
        return cls(**{name: np.zeros((resamples, checkpoints)) for name in names})

    def present(self) -> dict[str, np.ndarray]:
        """The sums by name; those of another run only where there is one."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: values for name, values in found.items() if values is not None}

    def merge(self, other: "LossSums") -> None:
        """Add those of other tokens."""
        added = other.present()
        for name, values in self.present().items():
            np.add(values, added[name], out=values)

    def mean_loss(self) -> np.ndarray:
        """(checkpoints,) mean of the measured losses, nat, float64; NaN where there are none."""
        return _mean(self.loss, self.number)

    def mean_fit(self) -> np.ndarray:
        """(checkpoints,) mean of the fits, nat, float64; NaN where there are none."""
        return _mean(self.fit, self.number)


def check_shape(losses: LossStore, fits: FitStore) -> None:
    """Raise unless these losses have the tokens and checkpoints of the fits."""
    shape = (fits.num_tokens, fits.num_checkpoints)
    if losses.losses.shape != shape:
        raise StoreError(
            f"losses: {losses.name} has shape {losses.losses.shape}, the fits {fits.name} were made from {shape}"
        )


def open_other_run(
    other_run: StoreLike | LossStore | None, losses: LossStore | None, fits: FitStore
) -> LossStore | None:
    """The open loss store of another run, which has to have the same tokens and checkpoints."""
    if other_run is None:
        return None
    if losses is None:
        raise ValueError(
            "other_run: got one without the losses of the fits, which it is compared with; give losses, too"
        )
    other = other_run if isinstance(other_run, LossStore) else open_losses(other_run)
    check_shape(other, fits)
    if not np.array_equal(other.axis(fits.axis_name), fits.axis()):
        raise StoreError(
            f"other_run: {other.name} has other values of {fits.axis_name} than the fits {fits.name}; collect both "
            "runs at the same checkpoints"
        )
    return other


def check_tokens(other: LossStore, fits: FitStore, part: slice) -> None:
    """Raise where tokens of another run are others, as far as coordinates of both say."""
    for name in sorted(_SAME & set(other.token_coordinates) & set(fits.token_coordinates)):
        if not np.array_equal(other.read_coordinate(name, part), fits.read_coordinate(name, part)):
            raise StoreError(
                f"other_run: {other.name} has other values of {name} than the fits {fits.name} in tokens {part.start} "
                f"to {part.stop - 1}, so they are other tokens; give a run of the same ones in the same order"
            )


def add_losses(
    sums: LossSums,
    measured: Sequence[np.ndarray],
    family: Family,
    axis: np.ndarray,
    stored: StoredFit,
    resample: np.ndarray,
) -> None:
    """Add measured losses (tokens, checkpoints used) of one or two runs and the fits of the same tokens to the sums."""
    tokens = len(resample)
    piece = min(max(1, _cached_bytes() // (16 * len(axis))), tokens)
    assert stored.second_event is not None
    second = stored.second_event > _LIKELY  # False for NaN
    params, low = split_event(family, stored.params)
    time: Any = jnp.asarray(axis, jnp.float32) if low is None else in_parts(axis)
    low = np.zeros(len(second), np.float32) if low is None else low
    columns_of_tokens = (*params.values(), low, stored.constant, stored.status, stored.category, second, resample)
    for first in range(0, tokens, piece):
        here = slice(first, first + piece)
        padded = [_padded(values[here], piece, 0) for values in columns_of_tokens]
        losses = tuple(_padded(values[here], piece, np.nan) for values in measured)
        added = _loss_sums(family, len(sums.loss), time, losses, *padded)
        for total, values in zip(sums.present().values(), added, strict=True):
            total += np.asarray(values, np.float64)


def _cached_bytes() -> int:
    return min(_CPU_BYTES, _LOSS_BYTES) if jax.default_backend() == "cpu" else _LOSS_BYTES


def _padded(values: np.ndarray, rows: int, filled: float) -> np.ndarray:
    missing = rows - len(values)
    if not missing:
        return values
    return np.pad(values, ((0, missing), *((0, 0),) * (values.ndim - 1)), constant_values=filled)


def _sums(
    family,
    resamples,
    axis,
    measured,
    learning_time,
    sharpness,
    drop,
    final,
    low,
    constant,
    status,
    category,
    second,
    group,
):
    names = family.names
    params = dict(zip(names, (learning_time, sharpness, drop, final), strict=True))
    low = low if isinstance(axis, Parts) else None
    fitted = predict(family, axis, params, status, category, constant, event_low=low)
    loss, *others = (values.astype(jnp.float32) for values in measured)
    pairs = jnp.isfinite(loss) & jnp.isfinite(fitted)
    likely, ones = pairs & second[:, None], jnp.ones_like(fitted)
    parts = [(loss, pairs), (fitted, pairs), (ones, pairs), (loss - fitted, likely), (ones, likely)]
    parts.append((loss - fitted, pairs & ~curve_counts(status, category)[:, None]))
    for other in others:
        both = pairs & jnp.isfinite(other)
        parts += [(other, both), (loss, both), (ones, both)]
    # Sums of some thousand float32 a group; the totals are float64.
    return tuple(jax.ops.segment_sum(jnp.where(there, values, 0), group, resamples) for values, there in parts)


_loss_sums = jax.jit(_sums, static_argnums=(0, 1))


def _mean(sums: np.ndarray, number: np.ndarray) -> np.ndarray:
    total, count = sums.sum(0), number.sum(0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
