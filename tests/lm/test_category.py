"""The test for an event: its level on white noise, its power on planted events, and where events lie."""

import functools

import jax
import numpy as np
import pytest

from tests.lm.planted import AXIS, CHECKPOINTS, CURVES, clean, fitter, noisy, sigmoid, truth
from tsl_jax import Category, FitOptions, Hyperbola, Sigmoid, fit
from tsl_jax.lm.statistics import _critical_ratios, _search_correction, categorise, has_event

pytestmark = pytest.mark.usefixtures("each_kernel")

NOISE_CURVES = 4096


@functools.cache
def noise_ratios(num_checkpoints):
    """``(rss_constant - rss) / rss`` of white-noise curves."""
    step = np.geomspace(10.0, 1e5, num_checkpoints)
    noise = np.random.default_rng(num_checkpoints).standard_normal((NOISE_CURVES, num_checkpoints))
    losses = (3 + 0.1 * noise).astype(np.float32)
    found = jax.jit(lambda y: fit(Sigmoid(), step, y))(losses)
    r2 = np.asarray(found.r2, float)
    return r2 / (1 - r2), np.asarray(found.category)


@pytest.mark.parametrize("num_checkpoints", [16, 64])
def test_white_noise_is_an_event_at_most_at_the_stated_level(num_checkpoints):
    ratios, category = noise_ratios(num_checkpoints)
    for significance in (0.01, 0.05, 0.2):
        level = np.mean(ratios > _critical_ratios(num_checkpoints, 4, significance)[num_checkpoints])
        spread = np.sqrt(significance / NOISE_CURVES)
        print(f"{num_checkpoints} checkpoints, level {significance}: {level:.4f} of {NOISE_CURVES} noise curves")
        # Neither above the level nor far below it, which would throw away real events.
        assert 0.3 * significance - 3 * spread < level < significance + 3 * spread
    called = np.mean(category != Category.UNLEARNED)
    assert called < 0.01 + 3 * np.sqrt(0.01 / NOISE_CURVES)


def test_critical_values_are_those_of_the_f_distribution():
    from scipy.stats import f

    table = _critical_ratios(64, 4, 0.01)
    assert np.all(np.isinf(table[:5]))
    for n in (5, 20, 64):
        critical = f.ppf(1 - 0.01 / _search_correction(n), 3, n - 4)
        np.testing.assert_allclose(table[n], critical * 3 / (n - 4), rtol=1e-9)
    assert np.all(np.diff(table[5:]) < 0)


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


def test_a_stricter_level_calls_fewer_events():
    rss_constant, rss, n = np.linspace(1, 8, 50, dtype=np.float32), np.ones(50, np.float32), np.full(50, 24)
    previous = np.ones(50, bool)
    for significance in (0.2, 0.01, 1e-4):
        options = FitOptions(significance=significance)
        found = np.asarray(has_event(options, 4, 24, rss_constant, rss, n))
        assert np.all(found <= previous)
        assert 0 < found.sum() < previous.sum()
        previous = found


def test_bic():
    options = FitOptions(event_test="bic")
    n, rss = np.array([24, 24, 100]), np.ones(3, np.float32)
    threshold = np.exp(3 * np.log(n) / n).astype(np.float32)
    assert not np.any(has_event(options, 4, 100, threshold * 0.999, rss, n))
    assert np.all(has_event(options, 4, 100, threshold * 1.001, rss, n))


def test_few_points_are_judged_by_their_own_number():
    n = np.array([4, 5, 6, 8, 24])
    found = has_event(FitOptions(), 4, 24, np.full(5, 4.0, np.float32), np.ones(5, np.float32), n)
    np.testing.assert_array_equal(found, [False, False, False, False, True])


def test_no_noise_is_an_event_and_a_family_without_events_has_no_category():
    assert np.all(fitter()(clean()).category == Category.LEARNED)
    found = jax.eval_shape(lambda y: fit(Hyperbola(), AXIS, y), np.zeros((2, CHECKPOINTS), np.float32))
    assert found.category.dtype == np.uint8
    assert np.all(categorise(Hyperbola(), np.ones(3, bool), np.ones(3, bool), np.ones(3), 0, 2) == Category.NONE)
