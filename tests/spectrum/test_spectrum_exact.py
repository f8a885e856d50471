"""64-bit whole numbers in two halves against Python's own."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl_jax.spectrum import MOST_ITEMS, Exact
from tsl_jax.spectrum.exact import tally

NUMBERS = st.lists(st.integers(0, 2**60), min_size=3, max_size=3)


def exact(numbers):
    numbers = np.asarray(numbers, np.uint64)
    low, high = numbers & np.uint64(2**32 - 1), numbers >> np.uint64(32)
    return Exact(jnp.asarray(low.astype(np.uint32)), jnp.asarray(high.astype(np.uint32)))


@settings(deadline=None, max_examples=50)
@given(NUMBERS, NUMBERS)
def test_adding_is_exact(a, b):
    assert (exact(a) + exact(b)).integers().tolist() == [x + y for x, y in zip(a, b, strict=True)]
    assert int(exact(a).sum(0).integers()) == sum(a)
    np.testing.assert_allclose(np.asarray(exact(a).real(0.5)), np.array(a, float) * 0.5, rtol=2e-7)


def test_sums_over_an_axis_carry():
    numbers = np.full((7, 2), 2**32 - 1, np.uint64)
    assert exact(numbers).sum(0).integers().tolist() == [7 * (2**32 - 1)] * 2
    assert exact(numbers).sum(1).integers().tolist() == [2 * (2**32 - 1)] * 7


def test_a_tally_of_the_most_and_largest_items_in_one_cell_is_exact():
    index = jnp.zeros(MOST_ITEMS, jnp.int32)
    values = jnp.full(MOST_ITEMS, 2**28 - 1, jnp.uint32)
    assert tally(index, (2,), values).integers().tolist() == [MOST_ITEMS * (2**28 - 1), 0]
    assert tally(index, (2,)).integers().tolist() == [MOST_ITEMS, 0]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2**28 - 1)), min_size=20, max_size=20))
def test_a_tally_adds_up_by_cell_and_leaves_out_what_has_none(items):
    index, values = (np.array(part) for part in zip(*items, strict=True))
    expected = np.zeros(8, np.uint64)
    np.add.at(expected, index, values.astype(np.uint64))
    got = tally(jnp.asarray(index, jnp.int32), (3, 2), jnp.asarray(values, jnp.uint32)).integers()
    assert got.shape == (3, 2)
    assert got.ravel().tolist() == expected[:6].tolist()
