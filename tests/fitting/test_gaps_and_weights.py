"""Missing values and weights against the same data written in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import (
    AXIS,
    CHECKPOINTS,
    CURVES,
    ONE_START,
    SIGMOID,
    assert_same_minimum,
    fitter,
    noisy,
    same_bits,
    scipy_fit,
    truth,
)
from tests.tolerances import RSS
from tsl_jax import Fit, fit
from tsl_jax.fitting.checks import check_input

pytestmark = pytest.mark.usefixtures("each_kernel")


def with_gaps(seed=3, share=0.25):
    losses = noisy()
    losses[np.random.default_rng(seed).random(losses.shape) < share] = np.nan
    return losses


def test_a_gap_is_a_checkpoint_that_was_not_measured():
    losses = noisy()
    kept = np.delete(np.arange(CHECKPOINTS), [0, 4, 11, 12, 23])
    gaps = losses.copy()
    gaps[:, np.setdiff1d(np.arange(CHECKPOINTS), kept)] = np.nan
    dropped, found = fitter(axis=AXIS[kept])(losses[:, kept]), fitter()(gaps)
    assert np.all(found.num_points == len(kept))
    assert_same_minimum(found, dropped)
    np.testing.assert_allclose(found.constant, dropped.constant, rtol=1e-6)
    np.testing.assert_allclose(found.r2, dropped.r2, rtol=1e-5)


def test_each_curve_has_its_own_gaps():
    gaps = with_gaps()
    found = fitter()(gaps)
    np.testing.assert_array_equal(found.num_points, np.sum(np.isfinite(gaps), axis=1))
    for k in range(0, CURVES, 5):
        alone = np.tile(gaps[k], (CURVES, 1))
        assert_same_minimum(jax.tree.map(lambda a, k=k: np.asarray(a)[[k]], found), first(fitter()(alone)))


def first(found: Fit) -> Fit:
    return jax.tree.map(lambda a: np.asarray(a)[:1], found)


@pytest.mark.parametrize("hole", [0.0, np.nan], ids=["zero", "NaN"])
def test_weight_zero_is_a_gap(hole):
    gaps = with_gaps()
    weights = np.where(np.isnan(gaps), np.float32(hole), np.float32(1))
    full = np.where(np.isnan(gaps), np.float32(99), gaps)
    assert same_bits(fitter()(full, weights), fitter()(gaps, np.ones_like(gaps)))
    assert_same_minimum(fitter()(full, weights), fitter()(gaps))


def test_integer_weights_are_repeated_points():
    losses = noisy()
    repeats = np.random.default_rng(0).integers(1, 4, CHECKPOINTS)
    found = fitter()(losses, np.broadcast_to(repeats, losses.shape).astype(np.float32))
    planted = np.concatenate(list(truth().values()), axis=1)
    for k in range(0, CURVES, 5):
        repeated = np.repeat(losses[k], repeats).astype(float)
        params, rss = scipy_fit(repeated, planted[k], np.repeat(AXIS, repeats))
        np.testing.assert_allclose(found.rss[k], rss, rtol=RSS.float32)
        np.testing.assert_allclose(found.constant[k], repeated.mean(), rtol=1e-5)
        for name, expected in zip(SIGMOID.names, params, strict=True):
            assert abs(found.params[name][k] - expected) < 0.02 * found.stderr[name][k]


def test_weights_of_the_checkpoints_hold_for_every_curve():
    weights = np.linspace(0.2, 3, CHECKPOINTS).astype(np.float32)
    losses = noisy()
    every = np.broadcast_to(weights, losses.shape)
    assert same_bits(*(fit(SIGMOID, AXIS, losses, given, options=ONE_START) for given in (weights, every)))
    # Inside a caller's jit the two are different programs, which XLA may round differently.
    assert_same_minimum(fitter()(losses, weights), fitter()(losses, every))


@pytest.mark.parametrize("unit", [1e-30, 1e-6, 1e6, 1e30])
def test_only_ratios_of_weights_matter(unit):
    losses = noisy()
    weights = np.random.default_rng(2).uniform(0.5, 2, losses.shape).astype(np.float32)
    found, plain = fitter()(losses, weights * np.float32(unit)), fitter()(losses, weights)
    np.testing.assert_array_equal(found.status, plain.status)
    np.testing.assert_allclose(np.asarray(found.rss) / unit, plain.rss, rtol=RSS.float32)
    for name, error in plain.stderr.items():
        np.testing.assert_allclose(found.stderr[name], error, rtol=1e-2)
        assert np.all(np.abs(found.params[name] - plain.params[name]) < 0.02 * np.asarray(error))


def test_precise_points_count_more():
    losses = noisy(noise=0.0)
    spoiled = losses.copy()
    spoiled[:, ::2] += 0.5
    weights = np.where(np.arange(CHECKPOINTS) % 2, 1.0, 1e-6).astype(np.float32)
    found, plain = fitter()(spoiled, weights), fitter()(losses)
    np.testing.assert_allclose(found.params["final_loss"], plain.params["final_loss"], rtol=1e-2)


def test_weights_of_any_real_dtype():
    for weights in (
        np.full(CHECKPOINTS, 2),
        np.full(CHECKPOINTS, 2.0),
        jnp.full(CHECKPOINTS, 2.0, jnp.bfloat16),
    ):
        checked = check_input(SIGMOID, AXIS, noisy(), weights, ONE_START)[2]
        assert checked.dtype == jnp.float32
        np.testing.assert_array_equal(checked, 2)
