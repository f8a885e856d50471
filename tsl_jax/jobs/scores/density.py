"""When the tokens of a fit store are learned, from a sample of them."""

import numpy as np

from ...fitting import Category, has_parameters
from ...reshape import EventDensity
from ...store import FitStore
from ...store.far_requests import at_once

#: Tokens come from at most so many places spread evenly over the store, of so many rows each.
_PLACES, _ROWS = 64, 4096
_ARRAYS = ("learning_time", "loss_drop", "category", "status")


def event_density(fits: FitStore) -> EventDensity:
    """`EventDensity` of a store's tokens: all of a small store, the same quarter of a million of a large one."""
    size = fits.num_tokens
    starts = range(0, size, _ROWS) if size <= _PLACES * _ROWS else np.linspace(0, size - _ROWS, _PLACES).astype(int)

    def read(start: int) -> list[np.ndarray]:
        stop = min(int(start) + _ROWS, size)
        return [fits.read_array(fits.arrays[name], int(start), stop) for name in _ARRAYS]

    read_there = at_once(fits.location, read, starts)
    time, drop, category, status = (np.concatenate(columns) for columns in zip(*read_there, strict=True))
    learned = (category == Category.LEARNED) & (drop > 0)
    return EventDensity.of(time[learned], int(np.count_nonzero(has_parameters(status))))
