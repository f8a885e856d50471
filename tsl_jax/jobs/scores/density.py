"""When the tokens of a fit store are learned, from a sample of them."""

import numpy as np

from ...fitting import Category, has_parameters
from ...reshape import EventDensity
from ...store import FitStore

#: Tokens come from at most so many places spread evenly over the store, of so many rows each.
_PLACES, _ROWS = 64, 4096


def event_density(fits: FitStore) -> EventDensity:
    """`EventDensity` of a store's tokens: all of a small store, the same quarter of a million of a large one."""
    rows = min(_ROWS, fits.num_tokens)
    places = min(_PLACES, -(-fits.num_tokens // rows))
    times, tokens = [], 0
    for start in np.linspace(0, fits.num_tokens - rows, places).astype(int).tolist():
        names = ("learning_time", "loss_drop", "category", "status")
        time, drop, category, status = (fits.read_array(fits.arrays[name], start, start + rows) for name in names)
        times.append(time[(category == Category.LEARNED) & (drop > 0)])
        tokens += int(np.count_nonzero(has_parameters(status)))
    return EventDensity.of(np.concatenate(times), tokens)
