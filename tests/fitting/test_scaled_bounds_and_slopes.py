"""Losses in another unit: what comes out equal to rounding, where `test_scaling` shows what is equal to the bit."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.fitting.planted import AXIS, CURVES, ONE_START, SIGMOID, noisy
from tsl_jax import FitOptions, Status, fit

SCALE = np.float32(2.0**-70)


def test_an_absolute_bound_keeps_its_place():
    lowest = 2.0**-70 * 1.05
    found = fit(SIGMOID, AXIS, noisy() * SCALE, options=FitOptions(starts=1, min_plateau=lowest))
    falling = np.arange(CURVES) % 4 != 3  # which end at 1
    np.testing.assert_array_equal(found.status[falling], Status.AT_BOUND)
    np.testing.assert_allclose(found.params["final_loss"][falling], lowest, rtol=1e-6)


def test_derivatives_follow_the_unit():
    def sum_of_times(losses):
        return jnp.sum(fit(SIGMOID, AXIS, losses, options=ONE_START).params["learning_time"])

    slope = jax.jit(jax.grad(sum_of_times))
    np.testing.assert_allclose(slope(noisy() * SCALE) * SCALE, slope(noisy()), rtol=1e-3, atol=1e-4)
