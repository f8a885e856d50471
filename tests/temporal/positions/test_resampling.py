"""Resampled position laws: their scatter is the honest error, and so are intervals made of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.temporal.planted_positions import (
    POSITION,
    SEEDS,
    SEPARATION,
    STEP,
    covered,
    curves,
    groups_of,
    spread_of_means,
    truth,
)
from tsl_jax.temporal import position_law, resample_position_law, separation

GROUPS, REPLICATES = 40, 30
ERRORS = spread_of_means(GROUPS)
ONCE = np.ones((SEEDS, GROUPS), np.float32)


@jax.jit
@jax.vmap
def resample(means, counts, key):
    counts = jnp.broadcast_to(counts[:, None, None], means.shape)
    return resample_position_law(POSITION, means, counts, ERRORS, key, replicates=REPLICATES)


@functools.cache
def resampled():
    """Laws of many seeds, their replicates, and their separation points."""
    keys = jax.random.split(jax.random.key(5), SEEDS)
    means = jax.vmap(lambda key: groups_of(key, GROUPS, curves()))(keys)
    law = position_law(POSITION, means.mean(axis=1), ERRORS)
    again = resample(means, ONCE, keys)
    points = jax.jit(jax.vmap(lambda law, again: separation(STEP, law, again)))(law, again)
    return jax.tree.map(np.asarray, (law, again, points))


@pytest.mark.parametrize("name", ["amplitude", "rate", "floor"])
def test_their_scatter_is_the_honest_error(name):
    law, again, _ = resampled()
    scatter = again.params[name].std(axis=1, ddof=1)
    z = (law.params[name] - truth()[name]) / scatter
    assert abs(z.mean()) < 0.4
    assert 0.75 < z.std() < 1.25
    if name == "floor":  # what all positions of a text share moves the floor, which errors of positions do not know
        assert np.median((scatter / law.stderr[name])[:, 0]) > 1.7


def test_known_groups_have_the_replicates_of_a_program_of_many():
    _, again, _ = resampled()
    keys = jax.random.split(jax.random.key(5), SEEDS)
    means = groups_of(keys[3], GROUPS, curves())
    found = resample_position_law(POSITION, means, np.ones(means.shape), ERRORS, keys[3], replicates=REPLICATES)
    for name in found.params:
        np.testing.assert_allclose(found.params[name], again.params[name][3], rtol=2e-3, err_msg=name)


@pytest.mark.parametrize("dtype", [np.int32, np.float16])
def test_losses_of_few_digits_are_resampled_in_float32(dtype):
    means = np.asarray(groups_of(jax.random.key(1), GROUPS, 100 * curves())).astype(dtype)
    key, counts = jax.random.key(2), np.full(means.shape, 10_000)
    found, same = (
        resample_position_law(POSITION, each, counts, ERRORS, key, replicates=REPLICATES)
        for each in (means, means.astype(np.float32))
    )
    for name in found.params:
        np.testing.assert_array_equal(found.params[name], same.params[name])


def test_they_carry_the_correlation_between_checkpoints():
    law, again, _ = resampled()
    of_seeds = np.corrcoef(law.params["floor"][:, 0], law.params["floor"][:, -1])[0, 1]
    each = [np.corrcoef(floor[:, 0], floor[:, -1])[0, 1] for floor in again.params["floor"]]
    assert abs(np.mean(each) - of_seeds) < 0.2


def test_intervals_of_the_separation_point_know_of_shared_tokens():
    _, _, found = resampled()
    assert 0.8 < covered(found) <= 1.0
    assert abs(np.median(np.log(found.point / SEPARATION))) < 0.05
    assert np.median(found.upper / found.lower) < 1.6
    assert found.replicates.shape == (SEEDS, REPLICATES)
    # All checkpoints share the errors of their tokens: together they know the level no better than one does.
    z = (found.amplitude - truth()["amplitude"][-1]) / found.amplitude_stderr
    assert 0.7 < z.std() < 1.4


def test_their_variance_is_that_of_the_mean_of_the_groups():
    floors = np.random.default_rng(0).normal(3.0, 0.2, (SEEDS, GROUPS)).astype(np.float32)
    exact = curves() - truth()["floor"][:, None]
    again = resample(
        floors[..., None, None] + exact.astype(np.float32), ONCE, jax.random.split(jax.random.key(6), SEEDS)
    )
    found = np.asarray(again.params["floor"])[..., 0]  # (seeds, replicates): without noise, the drawn groups' mean
    away = (found - floors.mean(axis=1, keepdims=True)) / (floors.std(axis=1, ddof=1, keepdims=True) / np.sqrt(GROUPS))
    assert abs(away.mean()) < 4 / np.sqrt(away.size)
    assert abs(away.std() - 1) < 0.05
    np.testing.assert_allclose(found, np.asarray(again.params["floor"])[..., -1], rtol=1e-3)  # one draw for all


def test_groups_count_by_their_size_and_gaps_are_left_out():
    # Only two groups have losses, of floor 2 and, three times as many, of floor 3.
    means = np.full((SEEDS, GROUPS, *curves().shape), np.nan, np.float32)
    means[:, :2] = np.array([2.0, 3.0])[:, None, None] + curves() - truth()["floor"][:, None]
    counts = ONCE * np.array([1, 3] + [0] * (GROUPS - 2))
    again = resample(means, counts.astype(np.float32), jax.random.split(jax.random.key(8), SEEDS))
    found = np.asarray(again.params["floor"])[..., 0]
    drawn = np.array([(a, b) for a in range(9) for b in range(9) if a + b])
    possible = (2 * drawn[:, 0] + 9 * drawn[:, 1]) / (drawn[:, 0] + 3 * drawn[:, 1])
    known = np.isfinite(found)  # neither was drawn: no mean, and no law
    assert 0.05 < np.mean(~known) < 0.25
    assert np.all(np.abs(found[known][:, None] - possible).min(axis=1) < 1e-3)
    assert len(np.unique(found[known].round(3))) > 10


@pytest.mark.parametrize(
    ("means", "counts", "replicates", "message"),
    [
        (np.ones((1, 24, 32)), np.ones((1, 24, 32)), 10, "at least 2 groups"),
        (np.ones((4, 24, 32)), np.ones((4, 24, 31)), 10, "got shapes"),
        (np.ones((4, 24, 32)), np.ones((4, 24, 32)), 1, "replicates: got 1"),
    ],
)
def test_bad_input_names_the_cure(means, counts, replicates, message):
    with pytest.raises(ValueError, match=message):
        resample_position_law(POSITION, means, counts, None, jax.random.key(0), replicates=replicates)
