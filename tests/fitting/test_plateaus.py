"""Plateaus stay where a loss can be; the closed-form step in a box against scipy."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from tests.fitting.planted import AXIS, CHECKPOINTS, CURVES, fitter, noisy
from tests.tolerances import RSS
from tsl_jax import FitOptions, Status
from tsl_jax.fitting.xla.projection import box_step

pytestmark = pytest.mark.usefixtures("each_kernel")

TIGHT = FitOptions(starts=1, min_plateau=1.0, max_plateau_ratio=1.2)
FREE = FitOptions(starts=1, min_plateau=None)


def plateaus(found):
    final, drop = found.params["final_loss"], found.params["loss_drop"]
    return np.minimum(final, final + drop), np.maximum(final, final + drop)


def late_and_early():
    """Events whose second plateau no checkpoint has seen; unbounded fits take absurd ones."""
    rng = np.random.default_rng(4)
    time = np.concatenate([np.geomspace(0.2, 0.9, 8), np.geomspace(1.2e4, 8e4, 8)])[:, None]
    rises = np.arange(16)[:, None] % 2 == 1
    drop = np.where(rises, -4.0, 4.0)
    losses = np.where(rises, 6.0, 1.5) + drop / (1 + (AXIS / time) ** 1.5)
    return (losses + 0.1 * rng.standard_normal((16, CHECKPOINTS))).astype(np.float32)


@pytest.mark.parametrize("losses", [noisy(noise=0.8), late_and_early()], ids=["noisy", "late and early"])
def test_plateaus_stay_inside_their_bounds(losses):
    low, _ = plateaus(fitter()(losses))
    assert np.all(low >= -1e-5)
    found = fitter(options=TIGHT)(losses)
    low, high = plateaus(found)
    slack = 1e-5 * np.abs(losses).max()
    assert np.all(low >= 1.0 - slack)
    # An upper bound below the lower one gives way to it.
    most = np.maximum(1.2 * losses[:, 0], 1.0)
    assert np.all(high <= most + slack)
    held = (low <= 1.0 + slack) | (high >= most - slack)
    assert held.any()
    assert np.all(np.isin(found.status[held], [Status.AT_BOUND, Status.MAX_STEPS]))


def test_the_first_measured_loss_sets_the_upper_bound():
    losses = late_and_early()
    losses[:, :3] = np.nan
    _, high = plateaus(fitter(options=TIGHT)(losses))
    assert np.all(high <= np.maximum(1.2 * losses[:, 3], 1.0) + 1e-4)


def test_free_plateaus_leave_the_bounds_where_the_data_ask_for_it():
    losses = noisy() - np.float32(4)
    free, bounded = fitter(options=FREE)(losses), fitter()(losses)
    np.testing.assert_array_equal(free.status, Status.CONVERGED)
    np.testing.assert_allclose(free.rss, fitter()(noisy()).rss, rtol=1e-3)
    assert np.all(free.rss <= bounded.rss * (1 + 1e-5))
    assert np.all(plateaus(free)[0] < 0)


def test_bounded_fits_are_the_best_bounded_fits():
    losses = late_and_early()
    found = fitter(options=FitOptions(min_plateau=0.0, max_plateau_ratio=2.0))(losses)
    for k in range(0, CURVES, 3):
        y = losses[k].astype(float)
        best = min(bounded_scipy(y, event, slope) for event in (0.3, 1, 100, 1e4, 3e4) for slope in (0.5, 1.5, 4))
        assert found.rss[k] <= (1 + 1e-3) * best


def bounded_scipy(losses, event, slope):
    """Rss of the best sigmoid with both plateaus in a box: scipy over (low, high, event, sharpness)."""
    from scipy.optimize import least_squares

    u, last = np.log(AXIS), np.log(AXIS[-1])

    def residual(p):
        f = 1 / (1 + np.exp(np.clip(p[3] * (u - p[2]), -700, 700)))
        return p[0] * (1 - f) + p[1] * f - losses

    bounds = ([0, 0, -last, 0.5 / last], [2 * losses[0]] * 2 + [2 * last, 40 * 23 / last])
    start = [losses[-3:].mean(), losses[:3].mean(), np.log(event), slope]
    start = np.clip(start, np.array(bounds[0]) + 1e-9, np.array(bounds[1]) - 1e-9)
    return 2 * least_squares(residual, start, bounds=bounds, xtol=1e-12, ftol=1e-12).cost


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.booleans()] * 4))
def test_box_step_against_scipy(seed, far):
    rng = np.random.default_rng(seed)
    matrix, target = rng.standard_normal((4, 2)), 2 * rng.standard_normal(4)
    least = np.where(far[:2], -50.0, rng.uniform(-1, 1, 2))
    most = np.where(far[2:], 50.0, least + rng.uniform(0.01, 2, 2))
    expected = lsq_linear(matrix, target, bounds=(least, most), method="bvls", tol=1e-14)
    a, b = matrix.T @ matrix, matrix.T @ target

    def lanes(*values):
        return tuple(jnp.asarray([value], jnp.float32) for value in values)

    d0, d1, held0, held1 = box_step(lanes(a[0, 0], a[0, 1], a[1, 1]), lanes(*b), lanes(*least), lanes(*most))
    d = np.array([d0[0], d1[0]], float)
    slack = 1e-5 * (1 + np.abs(d))
    assert np.all((d >= least - slack) & (d <= most + slack))
    value = np.sum((matrix @ d - target) ** 2)
    assert value <= 2 * expected.cost * (1 + RSS.float32) + 1e-4
    at_bound = [d[i] in (np.float32(least[i]), np.float32(most[i])) for i in (0, 1)]
    assert [bool(held0[0]), bool(held1[0])] == at_bound
