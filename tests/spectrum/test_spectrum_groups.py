"""Learning times by group of tokens against NumPy over the tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted_tokens import LINEAR, LOG, mixed, tokens

from tsl_jax import Category
from tsl_jax.spectrum import GroupCounts, accumulate_groups, group_bands, group_times, token_block

GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])


def counts_of(grid, planted, codes, groups=3):
    block = token_block(planted.rows(grid), 1024)
    padded = np.pad(codes, (0, 1024 - len(codes)))
    return accumulate_groups(GroupCounts.empty(grid, groups), block, jnp.asarray(padded))


@GRIDS
def test_groups_against_their_tokens(grid):
    planted = mixed(grid, 1000)
    codes = np.random.default_rng(3).integers(-1, 4, 1000)  # 3 groups; -1 and 3 are none
    counts = counts_of(grid, planted, codes)
    times = group_times(counts)
    learned = planted.event & (planted.category == Category.LEARNED) & (planted.drop > 0)
    for group in range(4):
        rows = codes == group if group < 3 else (codes < 0) | (codes == 3)
        u = planted.u[rows & learned]
        assert counts.tokens[group]["LEARNED"] == np.sum(rows & planted.event & (planted.category == Category.LEARNED))
        assert sum(counts.tokens[group].values()) == rows.sum()
        assert float(times.tokens[group]) == rows.sum()
        assert float(times.events[group]) == len(u)
        assert float(times.learned[group]) == pytest.approx(len(u) / rows.sum())
        assert abs(grid.coordinate(float(times.median[group])) - np.median(u)) < grid.width
        assert abs(grid.coordinate(float(times.mean[group])) - np.mean(u)) < 0.3 * grid.width
        assert float(times.spectrum[group].sum()) * grid.width == pytest.approx(1)


def test_counts_by_group_merge_exactly():
    planted = mixed(LOG, 600)
    codes = np.arange(600) % 3
    whole = counts_of(LOG, planted, codes)
    halves = counts_of(LOG, planted[:251], codes[:251]) + counts_of(LOG, planted[251:], codes[251:])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="different bins or numbers of groups"):
        whole + GroupCounts.empty(LOG, 2)


def test_bands_hold_the_value_and_widen_with_fewer_tokens():
    planted = tokens(LOG, np.random.default_rng(0).uniform(1, 6, 1000))
    codes = np.where(np.arange(1000) < 900, 0, 1)
    counts = counts_of(LOG, planted, codes)
    bands = group_bands(counts, jax.random.key(0), replicates=100)
    value = group_times(counts)
    low, high = bands.low.median, bands.high.median
    np.testing.assert_allclose(bands.value.median, value.median, rtol=1e-5)
    assert np.all(low[:2] <= value.median[:2])
    assert np.all(value.median[:2] <= high[:2])
    assert float(high[1] - low[1]) > 1.5 * float(high[0] - low[0])


def test_empty_groups_say_so():
    times = group_times(GroupCounts.empty(LOG, 1))
    assert np.isnan([times.median, times.mean, times.learned]).all()
    assert not np.any(times.events)
    with pytest.raises(ValueError, match="groups: got 0, expected 1 to"):
        GroupCounts.empty(LOG, 0)
