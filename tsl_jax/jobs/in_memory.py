"""Fits and losses in memory, read as stores are, so that jobs and pictures take either."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from ..fitting import Fit
from ..store import FitStore, LossStore, StoredFit, StoreError, open_fits, open_losses


class _Rows:
    """What stores of tokens have, for rows in memory."""

    name = "memory"
    chunk_tokens = 1
    token_coordinates: ClassVar[Mapping[str, Any]] = {}
    attributes: ClassVar[Mapping[str, Any]] = {}

    def read_coordinate(self, name: str, tokens: slice = slice(None)) -> np.ndarray:
        """There are none."""
        raise KeyError(name)


@dataclasses.dataclass(frozen=True)
class MemoryLosses(_Rows):
    """Losses (tokens, checkpoints) in memory.

    Attributes:
        losses: nat, NaN where not measured.
    """

    losses: np.ndarray

    @property
    def num_tokens(self) -> int:
        """Number of rows."""
        return len(self.losses)

    @property
    def num_checkpoints(self) -> int:
        """Number of columns."""
        return self.losses.shape[1]

    def read(self, tokens: slice = slice(None)) -> np.ndarray:
        """Some rows."""
        return self.losses[tokens]


@dataclasses.dataclass(frozen=True)
class MemoryFits(_Rows):
    """A `Fit`, with the axis that it does not hold; curves of several dimensions one after the other.

    Attributes:
        fit: with NumPy arrays (tokens,).
        time: (checkpoints,) axis values.
        axis_name: such as ``"step"``.
    """

    fit: Fit
    time: np.ndarray
    axis_name: str
    left_out_checkpoints: tuple[int, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Number of curves."""
        return len(self.fit)

    @property
    def num_checkpoints(self) -> int:
        """Number of axis values."""
        return len(self.time)

    @property
    def scale(self) -> str:
        """Of the family."""
        return self.fit.family.scale

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the family's parameters."""
        return tuple(self.fit.params)

    @property
    def arrays(self) -> Mapping[str, Any]:
        """(tokens,) parameters, status and category by name."""
        return {**self.fit.params, "status": self.fit.status, "category": self.fit.category}

    def axis(self) -> np.ndarray:
        """The axis values."""
        return self.time

    def read_array(self, array: Any, start: int, stop: int) -> np.ndarray:
        """Some values of one of the arrays."""
        return array[start:stop]

    def rows(self, tokens: slice) -> tuple[int, int]:
        """First row of a slice, and one past its last."""
        start, stop, _ = tokens.indices(self.num_tokens)
        return start, max(start, stop)

    def read(self, tokens: slice = slice(None)) -> StoredFit:
        """Some curves."""
        some = self.fit[tokens]
        return StoredFit(**{field.name: getattr(some, field.name) for field in dataclasses.fields(StoredFit)})


def fits_source(fits: Any, time: Any = None, axis: str = "step") -> FitStore | MemoryFits:
    """Fits as jobs read them.

    Args:
        fits: a `Fit`, an open fit store, or whatever opens as one.
        time: (checkpoints,) axis values of a `Fit`; stores have their own.
        axis: what to call them.

    Raises:
        TypeError: a `Fit` without its times. ValueError: times that are not a row of numbers.
        StoreError: no valid fit store.
    """
    if isinstance(fits, Fit):
        if time is None:
            raise TypeError(
                "time: got None, expected the axis values of the fit (checkpoints,), which it does not hold"
            )
        times = np.asarray(time, np.float64)
        if times.ndim != 1 or len(times) < 2:
            raise ValueError(f"time: got shape {times.shape}, expected (checkpoints,); are time and losses swapped?")
        return MemoryFits(jax.tree.map(lambda array: np.asarray(array).reshape(-1), fits), times, axis)
    return fits if isinstance(fits, FitStore | MemoryFits) else open_fits(fits)


def losses_source(losses: Any, fits: FitStore | MemoryFits) -> LossStore | MemoryLosses:
    """Losses as jobs read them, those of these fits.

    Args:
        losses: an array (..., checkpoints) for fits in memory; else a loss store, or whatever opens as one.
        fits: of `fits_source`.

    Raises:
        ValueError: an array of another shape. StoreError: no valid loss store, or that of other fits.
    """
    shape = fits.num_tokens, fits.num_checkpoints
    if not isinstance(fits, MemoryFits):
        store = losses if isinstance(losses, LossStore) else open_losses(losses)
        if store.losses.shape != shape:
            raise StoreError(
                f"losses: {store.name} has shape {store.losses.shape}, the fits {fits.name} were made from {shape}"
            )
        return store
    values = losses.losses if isinstance(losses, MemoryLosses) else np.asarray(losses)
    columns = values.shape[-1] if values.ndim else 0
    if values.size != shape[0] * shape[1] or columns != shape[1]:
        raise ValueError(
            f"losses: got shape {values.shape}, expected {shape[0]} curves of {shape[1]} checkpoints, as were fitted"
        )
    return MemoryLosses(values.reshape(-1, columns))
