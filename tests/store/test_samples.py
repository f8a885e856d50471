"""Which rows of a store are looked at, where all would be too many."""

import numpy as np
import pytest

from tsl_jax.store.samples import even_runs, sampled_runs


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_store_of_no_more_rows_is_taken_whole(size):
    assert sampled_runs(size, 8, 100) == [slice(0, size)]


@pytest.mark.parametrize("size", [101, 103, 1000, 2**40 + 3])
def test_runs_are_spread_from_the_first_row_to_the_last(size):
    runs = sampled_runs(size, 8, 100)
    starts = np.array([run.start for run in runs])
    assert {run.stop - run.start for run in runs} == {8}
    assert 0 < 8 * len(runs) <= 100
    assert (starts[0], runs[-1].stop) == (0, size)
    gaps = np.diff(starts)
    assert gaps.min() >= 8  # no row twice
    assert gaps.max() - gaps.min() <= 1
    assert runs == even_runs(size, 8, 12)
