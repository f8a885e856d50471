"""When the tokens of a fit store are learned, from a sample of them."""

import numpy as np

from ...fitting import Category, has_parameters
from ...reshape import EventDensity
from ...store import FitStore
from ...store.far_requests import at_once
from ...store.samples import sampled_runs

#: It comes from at most so many tokens, in runs of so many.
_SAMPLED_TOKENS, _RUN_TOKENS = 2**18, 2**12
_ARRAYS = ("learning_time", "loss_drop", "category", "status")


def event_density(fits: FitStore) -> EventDensity:
    """`EventDensity` of a store's tokens: all of a small store, the same quarter of a million of a large one."""

    def read(run: slice) -> list[np.ndarray]:
        return [fits.read_array(fits.arrays[name], run.start, run.stop) for name in _ARRAYS]

    read_there = at_once(fits.location, read, sampled_runs(fits.num_tokens, _RUN_TOKENS, _SAMPLED_TOKENS))
    time, drop, category, status = (np.concatenate(columns) for columns in zip(*read_there, strict=True))
    learned = (category == Category.LEARNED) & (drop > 0)
    return EventDensity.of(time[learned], int(np.count_nonzero(has_parameters(status))))
