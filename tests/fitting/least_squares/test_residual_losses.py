"""Robust losses of `tsl.least_squares`: against those of SciPy, finite differences and repeated draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from tsl_jax import LeastSquaresOptions, Status, least_squares
from tsl_jax.fitting.least_squares.losses import LOSSES, rooted_loss

X = np.linspace(0.0, 5.0, 40)
TRUTH = np.array([2.0, 1.0, 0.5])
ROBUST = ("huber", "soft_l1")
F_SCALE = 0.1


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def decay(p, y):
    return p[0] * jnp.exp(-p[1] * X) + p[2] - y


def spiked(count, seed=0, share=0.15):
    """Decays with Gaussian noise of `F_SCALE`, and spikes."""
    rng = np.random.default_rng(seed)
    clean = TRUTH[0] * np.exp(-TRUTH[1] * X) + TRUTH[2]
    spikes = (rng.random((count, len(X))) < share) * rng.normal(scale=10 * F_SCALE, size=(count, len(X)))
    return clean + F_SCALE * rng.normal(size=(count, len(X))) + spikes


def robust_fit(y, loss, f_scale=F_SCALE, **others):
    return least_squares(decay, jnp.ones(3), y, options=LeastSquaresOptions(loss=loss, f_scale=f_scale), **others)


def scipy_fit(y, loss, f_scale=F_SCALE, weights=None, bounds=(-np.inf, np.inf)):
    root = 1 if weights is None else np.sqrt(weights)

    def residual(p):
        return root * (p[0] * np.exp(-p[1] * X) + p[2] - y)

    exact = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    return scipy.optimize.least_squares(residual, np.ones(3), loss=loss, f_scale=f_scale, bounds=bounds, **exact)


@pytest.mark.parametrize("loss", ["linear", *ROBUST])
def test_the_minimum_and_its_cost_are_those_of_scipy(loss):
    y = spiked(4)
    fits = jax.jit(jax.vmap(lambda y: robust_fit(y, loss)))(y)
    np.testing.assert_array_equal(fits.status, Status.CONVERGED)
    for k, row in enumerate(y):
        best = scipy_fit(row, loss)
        np.testing.assert_allclose(fits.rss[k], 2 * best.cost, rtol=1e-10)
        np.testing.assert_allclose(fits.params[k], best.x, rtol=1e-6)


@pytest.mark.parametrize("loss", ROBUST)
def test_bounds_weights_and_gaps_are_those_of_scipy(loss):
    y, weights = spiked(1)[0], np.linspace(0.5, 2.0, len(X))
    weights[[3, 8]] = 0
    bounds = (np.array([-np.inf, -np.inf, 0.55]), np.inf)
    ours = robust_fit(y, loss, weights=weights, bounds=(jnp.asarray(bounds[0]), None))
    best = scipy_fit(y, loss, weights=weights, bounds=bounds)
    assert (ours.status, ours.num_points) == (Status.AT_BOUND, len(X) - 2)
    np.testing.assert_allclose(ours.rss, 2 * best.cost, rtol=1e-8)
    np.testing.assert_allclose(ours.params, best.x, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_their_slopes_are_those_of_scipy(loss):
    t = np.array([-1e25, -30.0, -1.5, -1.0, -1e-9, 0.0, 0.3, 1.0, 2.0, 1e4])
    root = lambda t: rooted_loss(loss, 1.0, t)  # noqa: E731
    expected = {
        "linear": t**2,
        "huber": np.where(np.abs(t) <= 1, t**2, 2 * np.abs(t) - 1),
        "soft_l1": t**2 * 2 / (1 + np.sqrt(1 + t**2)),
    }[loss]
    np.testing.assert_allclose(root(t) ** 2, expected, rtol=1e-14)
    half = jax.vmap(jax.grad(lambda t: root(t) ** 2 / 2))
    np.testing.assert_allclose(half(t), LOSSES[loss].influence(t), rtol=1e-12)
    inside = np.array([-3.0, -0.7, 0.0, 0.2, 5.0])
    bend = jax.vmap(jax.grad(LOSSES[loss].influence))
    np.testing.assert_allclose(bend(inside), LOSSES[loss].slope(inside), rtol=1e-12)


def test_a_large_f_scale_is_the_plain_fit():
    y = spiked(1)[0]
    plain = robust_fit(y, "linear")
    for loss in ROBUST:
        far = robust_fit(y, loss, f_scale=1e6)
        np.testing.assert_allclose(far.params, plain.params, rtol=1e-8)
        np.testing.assert_allclose(far.stderr, plain.stderr, rtol=1e-8)


@pytest.mark.parametrize("loss", ROBUST)
def test_derivatives_are_those_of_finite_differences(loss):
    y, direction = spiked(1)[0], np.random.default_rng(1).normal(size=len(X))

    @jax.jit
    def summary(y):
        fit = robust_fit(y, loss)
        return jnp.concatenate([fit.params, fit.rss[None]])

    forward, backward = jax.jacfwd(summary)(y), jax.jacrev(summary)(y)
    np.testing.assert_allclose(forward, backward, rtol=1e-7, atol=1e-10)
    ends = [summary(y + h * direction) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(forward @ direction, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", ROBUST)
def test_errors_are_the_scatter_of_repeated_draws(loss):
    def line(p, y):
        return p[0] + p[1] * X - y

    def scattered(loss):
        options = LeastSquaresOptions(loss=loss, f_scale=F_SCALE)
        fits = jax.jit(jax.vmap(lambda y: least_squares(line, jnp.zeros(2), y, options=options)))(y)
        assert np.all(fits.status == Status.CONVERGED)
        return np.std(fits.params, axis=0), np.median(fits.stderr, axis=0)

    y = spiked(600, seed=3) - (TRUTH[0] * np.exp(-TRUTH[1] * X) + TRUTH[2])  # the noise around 0 + 0·x
    scatter, error = scattered(loss)
    np.testing.assert_allclose(error, scatter, rtol=0.1)  # of 600 draws it is known to 3%
    assert np.all(scatter < 0.75 * scattered("linear")[0])  # which is what robust losses are for


def test_where_nothing_bends_the_loss_there_are_no_errors():
    # Every residual lies far outside: their loss is linear in the parameter.
    y = np.array([-4.0, -3.0, 1.0, 5.0, 6.0])
    options = LeastSquaresOptions(loss="huber", f_scale=1e-3)
    fit = least_squares(lambda p: p - y, jnp.zeros(1), options=options)
    assert np.isfinite(fit.params[0])
    assert abs(float(fit.params[0]) - 1) < 1e-2
    outside = least_squares(lambda p: p - y[[0, 1, 3, 4]], jnp.zeros(1), options=options)
    assert np.isnan(outside.stderr[0])
