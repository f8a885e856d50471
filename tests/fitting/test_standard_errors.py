"""Standard errors against scipy's covariance, and where there are none."""

import jax
import numpy as np
import pytest
from scipy.optimize import curve_fit

from tests.fitting.planted import AXIS, CURVES, SIGMOID, noisy, truth
from tests.fitting.planted import fitter as any_fitter
from tests.tolerances import STDERR
from tsl_jax import FitOptions, Status

pytestmark = pytest.mark.usefixtures("each_kernel")


def fitter():
    """scipy takes noise for independent."""
    return any_fitter(options=FitOptions(starts=1, noise="independent"))


def law(axis, learning_time, sharpness, loss_drop, final_loss):
    return final_loss + loss_drop / (1 + np.exp(sharpness * (np.log(axis) - np.log(learning_time))))


def assert_as_scipy(found, losses, weights, dtype):
    planted = np.concatenate(list(truth().values()), axis=1)
    for k in range(0, CURVES, 3):
        there = np.isfinite(losses[k])
        w = None if weights is None else weights[k][there].astype(float)
        measured = (AXIS[there], losses[k][there].astype(float))
        sigma = None if w is None else 1 / np.sqrt(w)
        tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}
        expected = np.sqrt(np.diag(curve_fit(law, *measured, planted[k], sigma=sigma, **tight)[1]))
        got = [found.stderr[name][k] for name in SIGMOID.names]
        np.testing.assert_allclose(got, expected, rtol=STDERR.of(dtype))


def test_plain_in_float32():
    losses = noisy()
    assert_as_scipy(fitter()(losses), losses, None, np.float32)


def test_weights_and_gaps_in_float32():
    losses = noisy()
    losses[::2, 5:9] = np.nan
    weights = np.random.default_rng(0).uniform(0.3, 3, losses.shape).astype(np.float32)
    assert_as_scipy(fitter()(losses, weights), losses, weights, np.float32)


def test_plain_in_float64():
    losses = noisy(dtype=np.float64)
    with jax.enable_x64(True):
        found = fitter()(losses)
    assert_as_scipy(found, losses, None, np.float64)


def test_no_error_for_what_a_bound_holds():
    losses = (noisy() - truth()["final_loss"] - 0.1).astype(np.float32)  # the plateau at the end is below 0
    found = fitter()(losses)
    falling = truth()["loss_drop"][:, 0] > 0
    held = (found.params["final_loss"] == 0) & falling
    assert held.sum() >= 4
    assert np.all(np.isnan(found.stderr["final_loss"][held]))
    assert np.all(found.status[held] == Status.AT_BOUND)
    for name in ("learning_time", "sharpness", "loss_drop"):
        assert np.all(np.isfinite(found.stderr[name][held]))
    # The others' errors are those of a fit in which the held plateau is known.
    k = int(np.flatnonzero(held)[0])
    start = [found.params[name][k] for name in ("learning_time", "sharpness", "loss_drop")]
    _, covariance = curve_fit(lambda *args: law(*args, 0.0), AXIS, losses[k].astype(float), start)
    residual_freedom = (24 - 3) / (24 - 4)  # scipy counts three parameters, the documented variance all four
    for name, expected in zip(SIGMOID.names, np.sqrt(np.diag(covariance) * residual_freedom), strict=False):
        np.testing.assert_allclose(found.stderr[name][k], expected, rtol=STDERR.float32)
