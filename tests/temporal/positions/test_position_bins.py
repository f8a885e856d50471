"""Log-spaced bins of positions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsl_jax.temporal import log_bins


@given(st.integers(1, 600), st.integers(2, 40), st.integers(1, 5))
def test_bins_have_no_gaps_and_grow_evenly_in_the_logarithm(length, bins, first):
    position = np.arange(first, first + length)
    place = log_bins(position, bins)
    assert place[0] == 0
    assert np.all(np.isin(np.diff(place), (0, 1)))
    assert place[-1] + 1 <= min(bins, length)
    width = np.log((first + length) / first) / bins
    for b in range(place[-1] + 1):
        inside = position[place == b]
        assert np.log(inside[-1] / inside[0]) <= width + 1e-9


def test_bins_are_these():
    assert log_bins(np.arange(1, 17), 4).tolist() == [0] * 2 + [1] * 2 + [2] * 4 + [3] * 8


@pytest.mark.parametrize(("position", "bins", "message"), [([1, 2], 1, "at least 2"), ([], 4, "at least one")])
def test_bad_input(position, bins, message):
    with pytest.raises(ValueError, match=message):
        log_bins(np.array(position, float), bins)
