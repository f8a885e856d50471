"""The test for an event: its level on white noise, its power on planted events, and where events lie."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import AXIS, CURVES, clean, fitter, noisy, sigmoid, truth
from tsl_jax import Category, FitOptions, Hyperbola, Sigmoid, fit
from tsl_jax.fitting.measures import Measures
from tsl_jax.fitting.statistics import evidence_of

pytestmark = pytest.mark.usefixtures("each_kernel")

NOISE_CURVES = 4096


@functools.cache
def called_events(num_checkpoints, significance, noise):
    """Share of white-noise curves that the test calls events."""
    step = np.geomspace(10.0, 1e5, num_checkpoints)
    values = np.random.default_rng(num_checkpoints).standard_normal((NOISE_CURVES, num_checkpoints))
    losses = (3 + 0.1 * values).astype(np.float32)
    options = FitOptions(significance=significance, noise=noise)
    found = jax.jit(lambda y: fit(Sigmoid(), step, y, options=options).category)(losses)
    return float(np.mean(np.asarray(found) != Category.UNLEARNED))


@pytest.mark.parametrize("noise", ["independent", "correlated"])
@pytest.mark.parametrize("num_checkpoints", [16, 64])
def test_white_noise_is_an_event_at_most_at_the_stated_level(num_checkpoints, noise):
    before = 0.0
    for significance in (0.01, 0.2):
        called = called_events(num_checkpoints, significance, noise)
        print(f"{num_checkpoints} checkpoints, {noise}, level {significance}: {called:.4f} of {NOISE_CURVES} curves")
        assert before <= called < significance + 3 * np.sqrt(significance / NOISE_CURVES)
        before = called
    if noise == "independent":
        assert called > 0.01  # not so far below its level that real events would be thrown away


def test_planted_events_are_found_where_they_are():
    planted = truth()
    for noise in (0.0, 0.05, 0.3):
        assert np.all(fitter()(noisy(noise=noise)).category == Category.LEARNED)
    early = sigmoid(AXIS, planted | {"learning_time": np.full((CURVES, 1), 0.4), "sharpness": np.ones((CURVES, 1))})
    late = sigmoid(AXIS, planted | {"learning_time": np.full((CURVES, 1), 2.5e4), "sharpness": np.ones((CURVES, 1))})
    assert np.all(fitter()(early.astype(np.float32)).category == Category.EARLY)
    assert np.all(fitter()(late.astype(np.float32)).category == Category.LATE)


def test_category_follows_the_fitted_learning_time():
    found = fitter()(noisy(noise=1.0, seed=8))
    time = found.params["learning_time"]
    where = np.select([time < AXIS[0], time > AXIS[-1]], [Category.EARLY, Category.LATE], Category.LEARNED)
    event = found.category != Category.UNLEARNED
    np.testing.assert_array_equal(found.category[event], where[event])
    assert event.any()


def evidence(options, gain, number=24):
    """Of curves of which the sigmoid explains ``gain`` times the residual variance, none of it by two points alone."""
    gain = jnp.asarray(gain, jnp.float32)
    ones, size = jnp.ones_like(gain), 4
    eye = jnp.broadcast_to(jnp.eye(size)[..., None], (size, size, *gain.shape))
    rss = (number - size) * ones
    measures = Measures(
        factor=eye, meat=eye, rss=rss, constant=ones, tss=rss + gain, white_rss=rss, white_gain=gain,
        second_rss=rss, second_gain=0 * ones, long_run=ones, correlation=0 * ones, deviation=0 * ones,
    )  # fmt: skip
    points = jnp.full(gain.shape, number)
    return evidence_of(options, size, measures, points, 1.0)


def test_a_stricter_level_calls_fewer_events():
    gain, previous = np.linspace(0, 60, 200), np.ones(200, bool)
    for significance in (0.2, 0.01, 1e-4):
        found = np.asarray(evidence(FitOptions(significance=significance), gain).ratio > 1)
        assert np.all(found <= previous)
        assert 0 < found.sum() < previous.sum()
        previous = found


def test_an_event_is_as_likely_as_none_at_the_critical_value():
    for number in (8, 24):
        found = evidence(FitOptions(), np.linspace(0, 400, 4001), number)
        likely = np.asarray(found.event) > 0.5
        np.testing.assert_array_equal(likely, np.asarray(found.ratio) > 1)
        assert 0 < likely.sum() < 4001
        assert np.all(np.diff(np.asarray(found.event)) >= 0)


def test_bic():
    gain = 20 * np.expm1(3 * np.log(20) / 20)  # n ln(1 + gain / n) = 3 ln n, of variance 1 and n = 24 less 4
    found = evidence(FitOptions(event_test="bic"), gain * np.array([0.999, 1.001]))
    np.testing.assert_array_equal(np.asarray(found.ratio) > 1, [False, True])


def test_no_noise_is_an_event_and_a_family_without_events_has_no_category():
    assert np.all(fitter()(clean()).category == Category.LEARNED)
    found = fit(Hyperbola(), AXIS, noisy())
    assert np.all(np.asarray(found.category) == Category.NONE)
    assert found.probabilities == {}
    assert found.second_event is None
