"""Losses and residuals in any unit: scaled by a power of two, nothing else changes by a bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fitting.planted import AXIS, SIGMOID, clean, noisy, same_bits
from tsl_jax import (
    FitOptions,
    Hyperbola,
    LeastSquaresOptions,
    PowerLaw,
    Sigmoid,
    Status,
    fit,
    least_squares,
    profile_interval,
)
from tsl_jax.fitting.scaling import magnified, normalised, power_of_two

pytestmark = pytest.mark.usefixtures("optimised")  # bits are compared
SETTINGS = settings(max_examples=12, deadline=None, derandomize=True)
#: Parameters that are no losses.
FREE = {"learning_time", "sharpness", "rate", "exponent"}
POSITION = np.arange(1.0, 33.0)
PLANTED = {
    "log sigmoid": (SIGMOID, AXIS, noisy()),
    "linear sigmoid": (Sigmoid(scale="linear"), POSITION, 1 + 3 / (1 + np.exp(POSITION - np.array([[9.0], [20.0]])))),
    "hyperbola": (Hyperbola(), POSITION, 2 / (1 + 0.2 * POSITION) + np.array([[1.0], [3.0]]) + 0.01 * np.sin(POSITION)),
    "power law": (PowerLaw(), POSITION, 2 * POSITION**-0.4 + np.array([[1.0], [3.0]]) + 0.01 * np.sin(POSITION)),
}


@functools.cache
def fitted(name, options=FitOptions(starts=1)):
    """``f(losses)`` of one of `PLANTED`, compiled once."""
    family, axis, _ = PLANTED[name]
    return jax.jit(lambda losses: fit(family, axis, losses, options=options))


def assert_scaled(plain, scaled, factor, rss=True):
    """The same fit in another unit."""
    for known, other in ((plain.params, scaled.params), (plain.stderr, scaled.stderr)):
        for name, value in known.items():
            expected = np.asarray(value) * np.float64(1 if name in FREE else factor)
            np.testing.assert_array_equal(np.asarray(other[name], np.float64), expected, err_msg=name)
    for name in ("r2", "status", "category", "num_points", "noise_correlation", "effective_points", "second_event"):
        assert same_bits(getattr(plain, name), getattr(scaled, name)), name
    assert same_bits(plain.probabilities, scaled.probabilities)
    if rss:
        np.testing.assert_array_equal(
            np.asarray(scaled.rss, np.float64), np.asarray(plain.rss) * np.float64(factor) ** 2
        )


@pytest.mark.usefixtures("each_kernel")
class TestFits:
    @pytest.mark.parametrize("name", PLANTED)
    @SETTINGS
    @given(power=st.integers(-100, 55))
    def test_in_another_unit_it_is_the_same_fit(self, name, power):
        losses = np.asarray(PLANTED[name][2], np.float32)
        plain = fitted(name)(losses)
        assert np.all(plain.status == Status.CONVERGED)
        # Squares of losses of 2^-50 are no longer numbers of float32; all else is.
        assert_scaled(plain, fitted(name)(losses * np.float32(2.0**power)), 2.0**power, rss=power > -40)

    def test_gaps_weights_and_outliers_in_another_unit(self):
        losses = noisy()
        losses[3, 5], losses[4, 7] = np.nan, 40.0
        weights = np.random.default_rng(0).uniform(0.5, 2, losses.shape).astype(np.float32)
        options = FitOptions(starts=1, min_plateau=None, max_plateau_ratio=1.1, huber_threshold=1.345)
        run = jax.jit(lambda losses: fit(SIGMOID, AXIS, losses, weights, options=options))
        assert_scaled(run(losses), run(losses * np.float32(2.0**-80)), 2.0**-80, rss=False)

    def test_curves_are_scaled_each_for_itself(self):
        losses = noisy()
        mixed = losses.copy()
        mixed[1::2] *= np.float32(2.0**-70)
        plain, found = fitted("log sigmoid")(losses), fitted("log sigmoid")(mixed)
        assert same_bits(plain, found, slice(0, None, 2))
        np.testing.assert_array_equal(found.params["learning_time"], plain.params["learning_time"])

    def test_what_is_too_large_for_the_result_has_a_status(self):
        found = fitted("log sigmoid")(noisy() * np.float32(2.0**80))
        assert np.all(found.status == Status.NON_FINITE)  # their rss is
        assert np.all(np.isnan(found.rss))


def test_float64_reaches_as_far_as_its_own_range():
    with jax.enable_x64(True):
        run = jax.jit(lambda losses: fit(SIGMOID, AXIS, losses, options=FitOptions(starts=1)))
        losses = clean(np.float64)
        assert_scaled(run(losses), run(losses * 2.0**-900), 2.0**-900, rss=False)


def test_profile_intervals_follow_the_unit():
    scale = np.float32(2.0**-70)
    plain, found = (profile_interval(SIGMOID, AXIS, y, "loss_drop") for y in (noisy()[:4], noisy()[:4] * scale))
    np.testing.assert_array_equal(found.lower, plain.lower * scale)
    np.testing.assert_array_equal(found.upper, plain.upper * scale)


# Least squares


X = np.linspace(0.0, 5.0, 40).astype(np.float32)
DATA = (2 * np.exp(-X) + 0.5 + 0.05 * np.sin(40 * X)).astype(np.float32)


def decay(p, y, unit):
    return unit * (p[0] * jnp.exp(-p[1] * X) + p[2] - y)


PLAIN = LeastSquaresOptions()


@functools.partial(jax.jit, static_argnums=1)
def solved(unit, options=PLAIN):
    return least_squares(decay, jnp.ones(3), DATA, unit, options=options)


@SETTINGS
@given(power=st.integers(-90, 50))
def test_residuals_in_another_unit_have_the_same_solution(power):
    plain, found = solved(np.float32(1)), solved(np.float32(2.0**power))
    assert plain.status == Status.CONVERGED
    for name in ("params", "stderr", "covariance", "status", "num_steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name), err_msg=name)
    if power > -50:
        assert float(found.rss) == float(plain.rss) * 2.0 ** (2 * power)


@pytest.mark.parametrize("loss", ["huber", "soft_l1"])
def test_robust_losses_in_another_unit(loss):
    unit = 2.0**-70
    plain = solved(np.float32(1), LeastSquaresOptions(loss=loss, f_scale=0.0625))
    found = solved(np.float32(unit), LeastSquaresOptions(loss=loss, f_scale=0.0625 * unit))
    for name in ("params", "stderr", "status"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name), err_msg=name)


def test_float64_residuals_of_1e_160():
    with jax.enable_x64(True):
        found = [least_squares(decay, jnp.ones(3), DATA, unit) for unit in (1.0, 2.0**-532)]
        np.testing.assert_array_equal(found[1].params, found[0].params)
        np.testing.assert_array_equal(found[1].stderr, found[0].stderr)


def test_small_data_far_from_the_start_are_reached():
    # The start's residuals are 1, those of the solution 1e-22: their squares and those of the first are no neighbours.
    y = np.float32(1e-20) * (1 + 0.01 * np.sin(np.arange(20.0, dtype=np.float32)))
    found = least_squares(lambda p, y: p - y, jnp.ones(1), y)
    assert found.status == Status.CONVERGED
    np.testing.assert_allclose(found.params, y.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.stderr, np.float64(y).std(ddof=1) / 20**0.5, rtol=1e-4)


def test_derivatives_of_small_residuals():
    def rate(shift, unit):
        return least_squares(decay, jnp.ones(3), DATA + shift * X, unit).params[1]

    slopes = [jax.grad(rate)(np.float32(0.1), np.float32(unit)) for unit in (1.0, 2.0**-70)]
    assert slopes[0] == slopes[1] != 0


@pytest.mark.parametrize("size", [0.0, np.inf, np.nan, 1.0, 2.0**-32, 2.0**32])
def test_ordinary_sizes_and_none_are_left_alone(size):
    assert normalised(jnp.float32(size)) == 1


@pytest.mark.parametrize("power", [-126, -100, -33, 33, 100, 127])
def test_others_are_brought_to_one_by_a_power_of_two(power):
    size = np.float32(1.5 * 2.0**power)
    factor = float(normalised(jnp.float32(size)))
    assert np.frexp(factor)[0] == 0.5
    assert 0.25 <= factor * float(size) <= 4
    assert float(magnified(jnp.float32(size))) == max(factor, 1)
    assert float(power_of_two(jnp.float32(1.0))) == 0.5
