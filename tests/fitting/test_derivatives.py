"""Derivatives by the implicit function theorem against finite differences, in float64."""

import functools

import jax
import numpy as np
import pytest

from tests.fitting.planted import AXIS, CHECKPOINTS, CURVES, sigmoid, truth
from tests.tolerances import DERIVATIVE
from tsl_jax import FitOptions, Sigmoid, Status, fit

#: Bounds of both plateaus, so that some curves below end on one.
OPTIONS = FitOptions(starts=1, min_plateau=1.0, max_plateau_ratio=1.1, tolerance=1e-18)
OUTPUTS = ("learning_time", "sharpness", "loss_drop", "final_loss")
STEP = 1e-4


@functools.cache
def compiled():
    """All outputs that are checked, (outputs, curves), and their derivatives by the losses."""

    def outputs(losses, weights):
        found = fit(Sigmoid(), AXIS, losses, weights, options=OPTIONS)
        values = [found.params[name] for name in OUTPUTS] + [found.stderr["sharpness"], found.rss, found.r2]
        return jax.numpy.stack(values), found.status

    def push(losses, weights, direction, weight_direction):
        value, change = jax.jvp(lambda y, w: outputs(y, w)[0], (losses, weights), (direction, weight_direction))
        return value, change

    def pull(losses, weights, cotangent):
        return jax.vjp(lambda y, w: outputs(y, w)[0], losses, weights)[1](cotangent)

    return [jax.jit(f) for f in (outputs, push, pull)]


@pytest.fixture(scope="module")
def case():
    """Losses with gaps, weights, and curves whose plateaus are free, at the lower and at the upper bound."""
    falling = truth() | {"loss_drop": np.abs(truth()["loss_drop"]), "final_loss": np.full((CURVES, 1), 1.5)}
    losses = sigmoid(AXIS, falling) + 0.05 * np.random.default_rng(0).standard_normal((CURVES, CHECKPOINTS))
    losses[4:8] -= 0.8  # the lower plateau ends on its bound
    losses[8:12, 0] -= 0.8  # and here the upper one, which follows the first loss
    losses[::3, 5:8] = np.nan
    losses[12] = np.nan
    losses[13] = 2.5
    losses[14, 3] = np.inf
    weights = np.random.default_rng(0).uniform(0.5, 2, losses.shape)
    with jax.enable_x64(True):
        values, status = (np.asarray(a) for a in compiled()[0](losses, weights))
    return losses, weights, values, status


def test_the_case_holds_what_it_should(case):
    _, _, values, status = case
    assert np.all(status[[12, 13, 14]] == [Status.TOO_FEW_POINTS, Status.FLAT, Status.NON_FINITE])
    assert (status == Status.AT_BOUND).sum() >= 4
    assert (status == Status.CONVERGED).sum() >= 4
    lower = np.isclose(np.minimum(values[3], values[3] + values[2]), 1.0, atol=1e-12)
    assert lower.any()
    assert ((status == Status.AT_BOUND) & ~lower).any()


def test_jvp_against_finite_differences(case):
    losses, weights, values, _ = case
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        for _ in range(3):
            direction, weight_direction = rng.standard_normal((2, CURVES, CHECKPOINTS))
            _, change = compiled()[1](losses, weights, direction, weight_direction)
            up, down = (
                np.asarray(compiled()[0](losses + s * STEP * direction, weights + s * STEP * weight_direction)[0])
                for s in (1, -1)
            )
            good = np.setdiff1d(np.arange(CURVES), [12, 13, 14])
            expected = (up - down) / (2 * STEP)
            scale = np.abs(values[:, good]) + np.abs(expected[:, good]) + 1e-3
            apart = np.abs(np.asarray(change)[:, good] - expected[:, good])
            known = np.isfinite(values[:, good])
            assert np.all(apart[known] <= DERIVATIVE.float64 * scale[known]), (apart / scale).max(axis=1)


def test_vjp_is_the_transpose_of_jvp(case):
    losses, weights, values, _ = case
    rng = np.random.default_rng(2)
    direction, weight_direction = rng.standard_normal((2, CURVES, CHECKPOINTS))
    cotangent = np.where(np.isfinite(values), rng.standard_normal(values.shape), 0)
    with jax.enable_x64(True):
        _, change = compiled()[1](losses, weights, direction, weight_direction)
        by_loss, by_weight = (np.asarray(a) for a in compiled()[2](losses, weights, cotangent))
    for k in np.setdiff1d(np.arange(CURVES), [12, 13, 14]):
        ahead = np.nansum(cotangent[:, k] * np.asarray(change)[:, k])
        back = np.sum(by_loss[k] * direction[k]) + np.sum(by_weight[k] * weight_direction[k])
        np.testing.assert_allclose(back, ahead, rtol=1e-6, err_msg=str(k))


def test_bad_curves_and_gaps_have_no_influence(case):
    losses, weights, values, _ = case
    cotangent = np.where(np.isfinite(values), 1.0, 0.0)
    with jax.enable_x64(True):
        by_loss, by_weight = (np.asarray(a) for a in compiled()[2](losses, weights, cotangent))
    good = np.setdiff1d(np.arange(CURVES), [12, 13, 14])
    assert np.all(np.isfinite(by_loss[good]))
    assert np.all(np.isfinite(by_weight[good]))
    np.testing.assert_array_equal(by_loss[np.isnan(losses)], 0)
    assert np.all(np.any(by_loss[good] != 0, axis=1))
    for k in (12, 13, 14):
        assert np.all((by_loss[k] == 0) | np.isnan(by_loss[k]))
