"""Evenness: planted slopes, an honest p-value, and slow references."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.temporal.planted_positions import POSITION, STEP, curves, groups_of, truth
from tsl_jax.temporal import evenness, log_bins

GROUPS, SEEDS = 40, 400
#: Falls equally at all positions, or the less the earlier the position.
EVEN = curves(truth() | {"amplitude": np.full(len(STEP), 2.0), "rate": np.full(len(STEP), 0.2)})
UNEVEN = EVEN + 2e-5 * STEP[:, None] / POSITION


def found_in(exact, **options):
    """Evenness for many seeds."""

    @jax.vmap
    def one(key):
        means = groups_of(key, GROUPS, exact)
        return evenness(STEP, POSITION, means, jnp.ones_like(means), bins=6, **options)

    return jax.tree.map(np.asarray, one(jax.random.split(jax.random.key(3), SEEDS)))


@functools.cache
def even():
    return found_in(EVEN)


def test_the_p_value_is_uniform_where_the_loss_falls_evenly():
    assert stats.kstest(even().p_value, "uniform").pvalue > 0.01
    z = even().trend / even().trend_stderr
    assert abs(z.mean()) < 0.15
    assert 0.9 < z.std() < 1.12
    z = (even().ratio - 1) / even().ratio_stderr
    assert 0.9 < z.std() < 1.12
    # Noise alone brings no unevenness in the mean; what it brings in one run lies within the ratios' errors.
    assert np.median(even().unevenness) < np.median(even().ratio_stderr)


def test_known_losses_have_the_numbers_of_a_program_of_many():
    means = groups_of(jax.random.split(jax.random.key(3), SEEDS)[7], GROUPS, EVEN)
    found = evenness(STEP, POSITION, means, jnp.ones_like(means), bins=6)
    for name in ("slope", "slope_stderr", "ratio", "ratio_stderr", "unevenness", "statistic", "p_value", "trend"):
        np.testing.assert_allclose(getattr(found, name), getattr(even(), name)[7], rtol=2e-3, atol=1e-4, err_msg=name)


def test_an_uneven_fall_is_seen_and_measured():
    found = found_in(UNEVEN)
    assert np.all(found.p_value < 1e-3)
    assert np.all(found.trend > 3 * found.trend_stderr)
    slopes = np.polyfit(STEP, UNEVEN, 1)[0]
    place = log_bins(POSITION, 6)
    ratio = np.array([slopes[place == b].mean() for b in range(place[-1] + 1)]) / slopes.mean()
    z = (found.ratio - ratio) / found.ratio_stderr
    assert abs(z.mean()) < 0.15
    assert 0.9 < z.std() < 1.12
    share = np.bincount(place) / len(place)
    np.testing.assert_allclose(found.unevenness.mean(), np.sqrt(np.sum(share * (ratio - 1) ** 2)), rtol=0.05)


def test_it_agrees_with_a_slow_reference():
    means = np.asarray(groups_of(jax.random.key(8), GROUPS, UNEVEN), np.float64)
    found = evenness(STEP, POSITION, means.astype(np.float32), np.ones(means.shape), start=100, stop=5000, bins=6)
    window = (STEP >= 100) & (STEP <= 5000)
    place = log_bins(POSITION, 6)
    slopes = np.array([np.polyfit(STEP[window], group[window], 1)[0] for group in means])
    by_bin = np.stack([slopes[:, place == b].mean(axis=1) for b in range(place[-1] + 1)], axis=1)
    np.testing.assert_allclose(found.slope, by_bin.mean(axis=0), rtol=2e-3)
    np.testing.assert_allclose(found.slope_stderr, stats.sem(by_bin), rtol=2e-3)
    np.testing.assert_allclose(found.mean_slope, slopes.mean(), rtol=2e-3)
    differences = np.diff(by_bin, axis=1)
    mean, covariance = differences.mean(axis=0), np.cov(differences.T) / GROUPS
    statistic = mean @ np.linalg.solve(covariance, mean)
    above, below = len(mean), GROUPS - len(mean)
    p_value = stats.f.sf(statistic * below / (above * (GROUPS - 1)), above, below)
    np.testing.assert_allclose(found.statistic, statistic, rtol=2e-2)
    np.testing.assert_allclose(found.p_value, p_value, rtol=5e-2)
    assert found.num_checkpoints == window.sum()
    assert found.first.tolist() == [POSITION[place == b][0] for b in range(place[-1] + 1)]
    assert found.last.tolist() == [POSITION[place == b][-1] for b in range(place[-1] + 1)]


def test_groups_of_different_sizes_count_by_their_size_and_gaps_are_left_out():
    means = groups_of(jax.random.key(8), GROUPS, UNEVEN)
    doubled = jnp.concatenate([means, means[:10], jnp.full_like(means[:3], jnp.nan)])
    counts = jnp.concatenate([jnp.ones_like(means), jnp.ones_like(means[:10]), jnp.zeros_like(means[:3])])
    weighted = jnp.ones_like(means).at[:10].set(2)
    once, twice = evenness(STEP, POSITION, means, weighted), evenness(STEP, POSITION, doubled, counts)
    np.testing.assert_allclose(once.slope, twice.slope, rtol=1e-3)
    assert np.all(once.slope_stderr > twice.slope_stderr)  # ten groups twice are no ten groups more


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": STEP[:1]}, "axis: got 1 checkpoints"),
        ({"axis": STEP[::-1]}, "axis: got .* then .* sort"),
        ({"axis": np.repeat(STEP[:12], 2)}, "drop repeated"),
        ({"axis": STEP[:5]}, "group_mean, group_count: got shapes"),
        ({"start": 9e3}, "start, stop: 1 checkpoints .* widen"),
        ({"bins": 1}, "bins: got 1"),
        ({"bins": 200}, "bins: got 32 bins of positions with 5 groups.*more groups"),
    ],
)
def test_bad_input_names_the_cure(change, message):
    means = np.ones((5, *EVEN.shape), np.float32)
    arguments = {"axis": STEP, "position": POSITION, "group_mean": means, "group_count": means} | change
    with pytest.raises(ValueError, match=message):
        evenness(**arguments)


def test_the_first_positions_of_the_real_run_stop_falling_before_the_others(real_lm):
    from tsl_jax.jobs.positions import position_losses

    means = position_losses(real_lm)
    found = evenness(means.axis, means.position, means.group_mean, means.group_count, start=1000)
    assert found.p_value < 1e-3
    assert found.ratio[0] < 0.6 < 1.0 < found.ratio[-1]
