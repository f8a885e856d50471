"""Derivatives at irregular checkpoints, and a spectrum against the data."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_tokens import LINEAR, LOG, mean_loss, mixed, spectrum_of, tokens

from tsl_jax.spectrum import compare, derivative_matrix

AXES = st.lists(st.floats(0.05, 1.0), min_size=8, max_size=20).map(np.cumsum)
GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])


@settings(deadline=None, max_examples=50)
@given(AXES, st.floats(0.01, 5), st.tuples(*[st.floats(-3, 3)] * 3))
def test_the_slope_of_a_parabola_is_exact_on_any_axis(u, bandwidth, coefficients):
    at = np.linspace(u[0], u[-1], 9)
    got = derivative_matrix(u, at, bandwidth) @ np.polyval(coefficients, u)
    np.testing.assert_allclose(got, np.polyval(np.polyder(np.array(coefficients)), at), atol=1e-6)


def test_the_slope_of_any_values_is_that_of_a_weighted_parabola():
    rng = np.random.default_rng(0)
    u, values = np.sort(rng.uniform(0, 10, 30)), rng.normal(size=30)
    for at in (0.5, 5.0, 9.9):
        weights = np.clip(1 - np.abs((u - at) / 2.5) ** 3, 0, None) ** 3
        fitted = np.polyfit(u - at, values, 2, w=np.sqrt(weights))
        np.testing.assert_allclose(derivative_matrix(u, np.array([at]), 2.5) @ values, fitted[1], rtol=1e-8)


@pytest.mark.parametrize(
    ("u", "bandwidth", "message"),
    [
        (np.arange(4.0), 1.0, "got 4 checkpoints, expected at least 5"),
        (np.array([0.0, 1, 1, 2, 3, 4]), 1.0, "that increase"),
        (np.arange(6.0), 0.0, r"bandwidth: got 0\.0, expected a positive number"),
    ],
)
def test_axes_without_slopes_raise(u, bandwidth, message):
    with pytest.raises(ValueError, match=message):
        derivative_matrix(u, np.array([1.0]), bandwidth)


def checkpoints(grid, number=50):
    return grid.axis(np.linspace(grid.edges[0], grid.edges[-1], number))


@GRIDS
def test_perfect_sigmoids_with_one_pulse_leave_nothing_to_explain(grid):
    rng = np.random.default_rng(0)
    u = grid.origin + grid.unit * rng.uniform(0.2, 0.8, 400)
    planted = tokens(grid, u, grid.sharpnesses[10] * grid.unit, 3.0)
    time = checkpoints(grid)
    loss = mean_loss(planted, grid.coordinate(time))
    result = compare(spectrum_of(grid, planted), time, loss, loss)
    assert {name: float(score.r2) > 0.999 for name, score in result.scores.items()} == dict.fromkeys(
        result.scores, True
    )
    assert float(result.split["sigmoid"]) == 0
    assert all(float(part) < 0.01 for part in result.split.values())
    assert result.bandwidth == pytest.approx(0.1 * grid.unit)


@GRIDS
def test_what_causes_the_difference_is_told_apart(grid):
    rng = np.random.default_rng(0)
    u = grid.origin + grid.unit * rng.uniform(0.1, 0.9, 1500)
    # Late events are far steeper: no shared pulse. The data have a bump that no fit follows.
    planted = tokens(grid, u, np.where(u > grid.origin + 0.5 * grid.unit, 60.0, 6.0), 3.0)
    time = checkpoints(grid)
    fitted = mean_loss(planted, grid.coordinate(time))
    observed = fitted + 0.2 * np.exp(-0.5 * ((grid.coordinate(time) - grid.origin) / grid.unit / 0.1 - 3) ** 2)
    result = compare(spectrum_of(grid, planted), time, observed, fitted)
    total = result.observed - result.convolved
    causes = (result.observed - result.fitted) + (result.fitted - result.implied) + (result.implied - result.convolved)
    np.testing.assert_allclose(causes, total, atol=1e-5 * float(np.abs(result.observed).max()))
    size = np.linalg.norm(result.observed)
    np.testing.assert_allclose(result.split["total"], np.linalg.norm(total) / size, rtol=1e-5)
    assert float(result.split["sigmoid"]) > 0.1
    assert float(result.split["shared pulse"]) > 0.02
    assert float(result.split["binning"]) < 0.01
    score = result.scores["implied of observed"]
    variance = np.mean((result.observed - np.mean(result.observed)) ** 2)
    expected = 1 - np.mean((result.implied - result.observed) ** 2) / variance
    np.testing.assert_allclose(score.r2, expected, rtol=1e-4)
    np.testing.assert_allclose(score.error, np.linalg.norm(result.implied - result.observed) / size, rtol=1e-4)


def test_checkpoints_outside_the_window_are_left_out():
    planted = mixed(LOG, 500, outside=0)
    time = checkpoints(LOG)
    loss = mean_loss(planted, np.log(time))
    spectrum = spectrum_of(LOG, planted)
    result = compare(spectrum, time, loss, loss)
    more = compare(spectrum, np.append(0, time), np.append(8, loss), np.append(9, loss))
    np.testing.assert_array_equal(result.observed, more.observed)
    with pytest.raises(ValueError, match="mean_loss: got shapes"):
        compare(spectrum, time, loss[1:], loss)
    with pytest.raises(ValueError, match="got 3 checkpoints, expected at least 5"):
        compare(spectrum, time[:3], loss[:3], loss[:3])


def test_a_constant_loss_has_no_score():
    planted = dataclasses.replace(mixed(LOG, 50), drop=np.zeros(50))
    time = checkpoints(LOG, 10)
    result = compare(spectrum_of(LOG, planted), time, np.full(10, 4.0), np.full(10, 4.0))
    assert np.isnan(result.scores["implied of observed"].r2)
    assert not np.any(result.observed)
