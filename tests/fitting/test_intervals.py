"""Intervals from standard errors: the formula, what is not known, and what cannot be asked for."""

import jax
import numpy as np
import pytest
from scipy import stats

from tests.fitting.planted import AXIS, SIGMOID, fitter, noisy
from tests.tolerances import FORMULA
from tsl_jax import Hyperbola, Interval, PowerLaw, Sigmoid, Status, profile_interval
from tsl_jax.fitting import degrees_of_freedom, error_interval, has_parameters
from tsl_jax.fitting.intervals import t_quantile


@pytest.fixture(scope="module")
def fit():
    losses = noisy()
    losses[3] = 2.0  # flat
    return fitter()(losses)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_quantiles_are_student_s(level):
    freedom = np.geomspace(1, 1e5, 77)
    expected = stats.t.ppf((1 + level) / 2, freedom)
    np.testing.assert_allclose(t_quantile(level, freedom), expected, rtol=1e-3)
    assert t_quantile(level, np.array(1e9)) == pytest.approx(stats.norm.ppf((1 + level) / 2), rel=1e-3)


@pytest.mark.parametrize("name", SIGMOID.names)
def test_the_formula(fit, name):
    interval = fit.interval(name, level=0.8)
    rho, n = fit.noise_correlation.astype(float), fit.num_points
    freedom = np.maximum(n * (1 - rho**2) / (1 + rho**2) - 4, 1)
    np.testing.assert_allclose(fit.degrees_of_freedom, freedom, rtol=FORMULA.float32)
    half = stats.t.ppf(0.9, freedom) * fit.stderr[name]
    value = fit.params[name]
    if name in ("learning_time", "sharpness"):
        expected = np.exp(np.log(value) - half / value), np.exp(np.log(value) + half / value)
    else:
        expected = value - half, value + half
    known = np.isfinite(half)
    assert known.sum() >= 12
    for got, wanted in zip((interval.lower, interval.upper), expected, strict=True):
        np.testing.assert_allclose(np.asarray(got)[known], wanted[known], rtol=2e-3, atol=1e-3)


def test_no_fit_no_interval(fit):
    assert fit.status[3] == Status.FLAT
    interval = fit.interval("final_loss")
    assert np.isnan(interval.lower[3])
    assert np.isnan(interval.upper[3])
    assert np.isfinite(interval.lower[:3]).all()


def test_what_has_no_error_may_be_anything():
    values, errors = np.array([5.0, -5.0, 5.0]), np.array([np.nan, np.nan, 1.0])
    freedom = np.full(3, 20.0)
    found = error_interval(PowerLaw(), "coefficient", values, errors, freedom, np.array([True, True, True]))
    assert np.asarray(found.lower)[:2].tolist() == [0, -np.inf]
    assert np.asarray(found.upper)[:2].tolist() == [np.inf, 0]
    found = error_interval(PowerLaw(), "floor", values, errors, freedom, np.array([True, False, True]))
    np.testing.assert_array_equal(found.lower[:2], [-np.inf, np.nan])
    np.testing.assert_array_equal(found.upper[:2], [np.inf, np.nan])


def test_negative_coefficients():
    one = np.ones(1)
    up = error_interval(PowerLaw(), "coefficient", 4 * one, one, 30 * one, True)
    down = error_interval(PowerLaw(), "coefficient", -4 * one, one, 30 * one, True)
    assert 0 < up.lower[0] < 4 < up.upper[0]
    assert (down.lower[0], down.upper[0]) == (-up.upper[0], -up.lower[0])


def test_learning_times_on_a_linear_scale_are_not_logarithmic():
    one = np.ones(1)
    found = error_interval(Sigmoid(scale="linear"), "learning_time", 4 * one, one, 30 * one, True)
    assert found.upper[0] - 4 == pytest.approx(4 - found.lower[0])


def test_arrays_of_a_store_give_the_same(fit):
    stored = {name: np.asarray(value, np.float32) for name, value in fit.params.items()}
    errors = {name: np.asarray(value, np.float32) for name, value in fit.stderr.items()}
    freedom = degrees_of_freedom(np.asarray(fit.noise_correlation), np.asarray(fit.num_points, np.int32), 4)
    for name in SIGMOID.names:
        found = error_interval(SIGMOID, name, stored[name], errors[name], freedom, has_parameters(fit.status))
        expected = fit.interval(name)
        np.testing.assert_array_equal(found.lower, expected.lower)
        np.testing.assert_array_equal(found.upper, expected.upper)


def test_intervals_are_pytrees_and_trace(fit):
    found = jax.jit(lambda fit: fit.interval("sharpness", 0.5))(fit)
    assert isinstance(found, Interval)
    np.testing.assert_allclose(found.upper, fit.interval("sharpness", 0.5).upper, rtol=FORMULA.float32)


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, True, "0.9", float("nan")])
def test_levels_that_are_no_probabilities(fit, level):
    with pytest.raises(ValueError, match=r"level: got .*, expected a probability"):
        fit.interval("sharpness", level)
    with pytest.raises(ValueError, match=r"level: got .*, expected a probability"):
        profile_interval(SIGMOID, AXIS, noisy(), "sharpness", level=level)


def test_names_that_the_family_does_not_have(fit):
    for call in (lambda: fit.interval("rate"), lambda: profile_interval(SIGMOID, AXIS, noisy(), "rate")):
        with pytest.raises(ValueError, match=r"name: got 'rate', expected one of learning_time, sharpness"):
            call()
    with pytest.raises(ValueError, match="expected one of amplitude, rate, floor"):
        error_interval(Hyperbola(), "exponent", np.ones(1), np.ones(1), np.ones(1), True)
