"""The random-energy landscape: against direct sums in float64, an ODE solver, and its own laws."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import logsumexp, softmax

from tsl_jax.simulate import inverse_temperature_flow, landscape, low_temperature_constant
from tsl_jax.simulate.energies import _energies
from tsl_jax.temporal import growth_exponent, time_law

CLASSES = 16
TEACHER = 30.0


def direct(beta, teacher, energy, weights=None):
    """F, U, L and -dL/dβ of given energies in float64, each as defined."""
    p, q = softmax(-teacher * energy, axis=1), softmax(-beta * energy, axis=1)
    log_z, log_z_teacher = (logsumexp(-b * energy, axis=1) for b in (beta, teacher))
    u, u_teacher = (q * energy).sum(axis=1), (p * energy).sum(axis=1)
    each = -log_z / beta, u, log_z - log_z_teacher + (beta - teacher) * u_teacher, u - u_teacher
    return [np.average(values, weights=weights) for values in each]


def test_it_is_the_direct_sum_over_its_energies():
    above, lowest, weights = (np.asarray(values, np.float64) for values in _energies(CLASSES, 512, 0))
    energy = above + lowest[:, None]
    found = landscape([0.5, 3.0, 12.0, 29.9], TEACHER, classes=CLASSES, samples=512)
    for i, beta in enumerate(np.asarray(found.beta, np.float64)):
        expected = direct(beta, TEACHER, energy, weights)
        close = [found.free_energy[i], found.internal_energy[i], found.loss[i], found.gradient[i]]
        np.testing.assert_allclose(close, expected, rtol=2e-4)


def test_its_energies_are_independent_normal_ones():
    """Means over plain draws, with their errors: any β, any number of classes."""
    rng = np.random.default_rng(1)
    for classes in (2, CLASSES):
        energy = rng.normal(size=(40_000, classes))
        found = landscape([0.5, 3.0, 12.0], TEACHER, classes=classes, samples=4096, seed=1)
        for i, beta in enumerate(np.asarray(found.beta, np.float64)):
            parts = np.array([direct(beta, TEACHER, part) for part in np.split(energy, 20)])
            mean, error = parts.mean(axis=0), parts.std(axis=0, ddof=1) / np.sqrt(20)
            own = np.array([found.free_energy[i], found.internal_energy[i], found.loss[i], found.gradient[i]])
            # Its own sampling error is of the order of that of 4,096 draws.
            assert np.all(np.abs(own - mean) < 4 * np.hypot(error, error * np.sqrt(40_000 / 4096))), (classes, beta)


def test_the_free_energy_is_the_known_one_at_high_temperature():
    """Annealed average of many classes: ``-βF = ln n + β²/2``, ``U = -β``."""
    hot = landscape([0.2, 0.5], 1.0, classes=4096, samples=256)
    np.testing.assert_allclose(-hot.beta * hot.free_energy, np.log(4096) + hot.beta**2 / 2, rtol=1e-3)
    np.testing.assert_allclose(hot.internal_energy, -hot.beta, rtol=0.03)


def test_the_gradient_is_the_slope_of_the_loss_and_the_internal_energys():
    beta = np.array([2.99, 3.0, 3.01])
    found = landscape(beta, TEACHER, classes=CLASSES)
    slope = (found.loss[0] - found.loss[2]) / 0.02
    assert float(found.gradient[1]) == pytest.approx(float(slope), rel=2e-3)
    free = np.asarray(found.beta * found.free_energy, np.float64)
    assert float(found.internal_energy[1]) == pytest.approx((free[2] - free[0]) / 0.02, rel=1e-3)


@pytest.mark.parametrize("classes", [2, 16, 128])
def test_low_temperature_laws_and_their_constant(classes):
    constant = low_temperature_constant(classes)
    # Density of the gap at 0, from the spacing of plain draws.
    rng = np.random.default_rng(0)
    lowest = np.partition(rng.normal(size=(60_000, classes)), 1, axis=1)[:, :2]
    density = np.mean(np.diff(lowest) < 0.03) / 0.03
    assert constant == pytest.approx(np.pi**2 / 12 * density, rel=0.1)
    cold = landscape(np.geomspace(80, 800, 5), 1e5, classes=classes, samples=8192)
    np.testing.assert_allclose(cold.loss * cold.beta, constant, rtol=0.03)
    np.testing.assert_allclose(cold.gradient * cold.beta**2, constant, rtol=0.04)
    # With a teacher that is not far: K (1/β² - 1/β*²).
    near = landscape([150.0, 300.0], 400.0, classes=classes, samples=8192)
    np.testing.assert_allclose(near.gradient, constant * (1 / near.beta**2 - 1 / 400**2), rtol=0.04)


def test_the_flow_is_that_of_an_ode_solver():
    above, _, weights = (np.asarray(values, np.float64) for values in _energies(CLASSES, 128, 0))

    def slope(_, beta):
        return weights @ ((softmax(-beta[0] * above, axis=1) - softmax(-TEACHER * above, axis=1)) * above).sum(axis=1)

    time = np.geomspace(1e-4, 3e5, 20)
    solved = solve_ivp(slope, (0, time[-1]), [0.0], method="LSODA", t_eval=time, rtol=1e-9, atol=1e-9)
    flow = inverse_temperature_flow(time, TEACHER, classes=CLASSES, samples=128)
    np.testing.assert_allclose(flow.beta, solved.y[0], rtol=2e-3)
    for beta, loss in zip(solved.y[0], np.asarray(flow.loss), strict=True):
        expected = direct(beta, TEACHER, above, weights)[2]
        if expected > 1e-8:  # what is left of float64's digits
            assert loss == pytest.approx(expected, rel=5e-3)


def test_beta_and_loss_follow_the_cube_root_of_time():
    time = np.geomspace(1e5, 1e8, 40)
    flow = inverse_temperature_flow(time, 1e5, classes=128, samples=1024)
    constant = low_temperature_constant(128)
    np.testing.assert_allclose(flow.beta, np.cbrt(3 * constant * time), rtol=0.02)
    np.testing.assert_allclose(flow.loss, constant / np.cbrt(3 * constant * time), rtol=0.03)
    growth, law = growth_exponent(time, flow.beta), time_law(time, np.asarray(flow.loss))
    assert float(growth.exponent) == pytest.approx(1 / 3, abs=0.002)
    assert float(law.params["exponent"]) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: landscape([1.0, 0.0], 10.0), "beta: got 0, expected finite numbers above 0"),
        (lambda: landscape(1.0, -1.0), "teacher_beta: got -1.0, expected a number above 0"),
        (lambda: landscape(1.0, np.inf), "teacher_beta: got inf"),
        (lambda: landscape(1.0, 1.0, classes=1), "classes: got 1, expected a whole number, 2 or more"),
        (lambda: landscape(1.0, 1.0, samples=0), "samples: got 0"),
        (lambda: low_temperature_constant(1), "classes: got 1"),
        (lambda: inverse_temperature_flow([0.0, 1.0], 1.0), "time: starts at 0, expected above 0"),
        (lambda: inverse_temperature_flow([2.0, 1.0], 1.0), "time: expected finite, strictly increasing"),
        (lambda: inverse_temperature_flow([1.0, 2.0], 1.0, seed=-1), "seed: got -1"),
    ],
)
def test_bad_input_says_what_is_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
