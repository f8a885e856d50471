"""`tsl.least_squares` with as many residuals as parameters: equations to solve, without errors of the solution.

Problems of J. J. Moré, B. S. Garbow and K. E. Hillstrom, Testing unconstrained optimization software, 1981.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from tsl_jax import LeastSquaresOptions, Status, least_squares


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def rosenbrock(p):
    return jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])


def powell_badly_scaled(p):
    return jnp.stack([1e4 * p[0] * p[1] - 1, jnp.exp(-p[0]) + jnp.exp(-p[1]) - 1.0001])


def helical_valley(p):
    turn = jnp.arctan2(p[1], p[0]) / (2 * jnp.pi)
    return jnp.stack([10 * (p[2] - 10 * turn), 10 * (jnp.hypot(p[0], p[1]) - 1), p[2]])


def trigonometric(p):
    i = jnp.arange(1, len(p) + 1)
    return len(p) - jnp.sum(jnp.cos(p)) + i * (1 - jnp.cos(p)) - jnp.sin(p)


def broyden_tridiagonal(p):
    padded = jnp.pad(p, 1)
    return (3 - 2 * p) * p - padded[:-2] - 2 * padded[2:] + 1


def powell_singular(p):
    return jnp.stack([p[0] + 10 * p[1], 5**0.5 * (p[2] - p[3]), (p[1] - 2 * p[2]) ** 2, 10**0.5 * (p[0] - p[3]) ** 2])


REGULAR = {
    rosenbrock: [-1.2, 1.0],
    powell_badly_scaled: [0.0, 1.0],
    helical_valley: [-1.0, 0.0, 0.0],
    broyden_tridiagonal: [-1.0] * 6,
}


@pytest.mark.parametrize("residual", REGULAR, ids=lambda residual: residual.__name__)
def test_equations_are_solved_and_have_no_errors(residual):
    start = np.array(REGULAR[residual])
    fit = least_squares(residual, jnp.asarray(start))
    best = scipy.optimize.least_squares(lambda p: np.asarray(residual(p)), start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert best.cost < 1e-20
    assert fit.status == Status.CONVERGED
    assert fit.num_points == len(start)
    assert fit.rss < 1e-20
    np.testing.assert_allclose(fit.params, best.x, rtol=1e-6, atol=1e-9)
    assert np.all(np.isnan(fit.stderr))  # no degree of freedom is left that could tell the noise
    assert np.all(np.isnan(fit.covariance))


@pytest.mark.parametrize(("residual", "start"), [(powell_singular, [3.0, -1.0, 0.0, 1.0]), (trigonometric, [0.2] * 5)])
def test_systems_that_are_singular_or_have_other_minima_end_where_the_gradient_vanishes(residual, start):
    fit = least_squares(residual, jnp.asarray(start))
    slope = jax.grad(lambda p: jnp.sum(residual(p) ** 2))(fit.params)
    assert fit.status == Status.CONVERGED
    np.testing.assert_allclose(slope, 0, atol=1e-7)


def test_a_solution_follows_its_data():
    def crossing(right):
        return least_squares(lambda p, right: jnp.stack([p[0] * p[1], p[0] + p[1] ** 2]) - right, start, right)

    start, right = jnp.array([1.5, 1.5]), jnp.array([2.0, 5.0])
    solution = crossing(right).params
    np.testing.assert_allclose(solution, [1, 2], rtol=1e-12)
    equations = jax.jacfwd(lambda p: jnp.stack([p[0] * p[1], p[0] + p[1] ** 2]))(solution)
    for mode in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(mode(lambda b: crossing(b).params)(right), np.linalg.inv(equations), rtol=1e-9)
        # Errors that are not there have no slope, and none that spoils a sum.
        assert np.all(mode(lambda b: jnp.nansum(crossing(b).stderr))(right) == 0)


def test_a_robust_loss_and_weights_count_the_same_points():
    options = LeastSquaresOptions(loss="soft_l1")
    weights = jnp.array([1.0, 1.0, 0.0])
    fit = least_squares(lambda p: jnp.append(rosenbrock(p), 7.0), jnp.ones(2), weights=weights, options=options)
    assert (fit.status, fit.num_points) == (Status.CONVERGED, 2)
    assert np.all(np.isnan(fit.stderr))
    few = least_squares(lambda p: rosenbrock(p)[:1], jnp.ones(2))
    assert few.status == Status.TOO_FEW_POINTS
