"""The mean loss beyond the data, with tokens whose learning times are known."""

import dataclasses

import numpy as np
import pytest
from planted_tokens import LINEAR, LOG, mean_loss, spectrum_of, tokens
from test_spectrum_tail import power_law

from tsl_jax.spectrum import Bands, Spectrum, forecast, widened

GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])


def checkpoints(grid):
    return grid.axis(np.linspace(grid.edges[0], grid.edges[-1], 40))


def planted(grid, exponent, number=3000):
    """Tokens learned from a fifth of the data's length to twenty times it, by a power law; those later are not seen."""
    everyone = tokens(grid, grid.coordinate(power_law(exponent, 200, 20_000, number, seed=None)), 60.0, 3.0)
    return everyone, everyone[everyone.u < grid.edges[-1] + 0.1 * grid.unit]


@GRIDS
@pytest.mark.parametrize("exponent", [1.0, 1.6])
def test_a_power_law_of_learning_times_is_continued(grid, exponent):
    everyone, known = planted(grid, exponent)
    time = checkpoints(grid)
    truth = mean_loss(everyone, grid.coordinate(time))
    until = np.array([1000.0, 1500.0, 3000.0])
    # Tokens not learned yet are part of the mean loss as constants.
    rest = dataclasses.replace(
        everyone, category=np.where(everyone.u > known.u.max(), 0, everyone.category).astype(np.uint8)
    )
    spectrum = spectrum_of(grid, rest, block=2048)
    ahead = forecast(spectrum, time, truth, until, lower=200, anchored=False)
    expected = mean_loss(everyone, grid.coordinate(until))
    fall = expected[0] - expected
    assert ahead.loss[0] == pytest.approx(expected[0], abs=1e-4)
    np.testing.assert_allclose(truth[-1] - ahead.loss, fall, atol=0.05 * fall[-1])
    assert float(ahead.tail.exponent) == pytest.approx(exponent, abs=0.1)
    np.testing.assert_allclose(truth[-1] - ahead.loss, ahead.unfolding + ahead.to_come, rtol=1e-4, atol=1e-5)


@GRIDS
def test_what_has_begun_to_unfold_is_exact(grid):
    steepness = grid.sharpnesses[9] * grid.unit
    known = tokens(grid, np.random.default_rng(0).choice(grid.centres[20:], 200), steepness, 2.0)
    time, until = checkpoints(grid), grid.axis(grid.edges[-1] + grid.width * np.array([3, 10, 200]))
    ahead = forecast(spectrum_of(grid, known), time, mean_loss(known, grid.coordinate(time)), until, lower=200)
    u = grid.coordinate(until)
    expected = mean_loss(known, grid.edges[-1:]) - mean_loss(known, u)
    np.testing.assert_allclose(ahead.unfolding, expected, atol=1e-5)


def test_an_anchored_forecast_starts_with_the_observed_slope():
    known = planted(LOG, 1.0)[1]
    time = checkpoints(LOG)
    loss = (
        10 + mean_loss(known, np.log(time)) - 2 * np.clip(np.log(time) - 5, 0, None)
    )  # falls faster than any fit says
    spectrum = spectrum_of(LOG, known, block=2048)
    free = forecast(spectrum, time, loss, [1010.0], lower=200, anchored=False)
    anchored = forecast(spectrum, time, loss, [1010.0], lower=200, bandwidth=0.1)
    slope = (loss[-1] - anchored.loss[0]) / np.log(1.01)
    modelled = (loss[-1] - free.loss[0]) / np.log(1.01)
    assert float(slope) == pytest.approx(2 + float(modelled), rel=0.2)
    assert float(anchored.scale) == pytest.approx(float(slope / modelled), rel=0.05)
    assert float(free.scale) == 1


def test_without_a_tail_there_is_no_forecast():
    time = checkpoints(LOG)
    ahead = forecast(Spectrum.empty(LOG), time, np.linspace(5, 4, 40), [2000.0])
    assert np.isnan(ahead.loss).all()
    assert float(ahead.tail.events) == 0


def test_a_loss_below_zero_is_no_forecast():
    known = planted(LOG, 1.0)[1]
    time = checkpoints(LOG)
    loss = mean_loss(known, np.log(time))
    ahead = forecast(spectrum_of(LOG, known, block=2048), time, loss - loss[-1] + 0.2, [1010.0, 9e4], lower=200)
    assert np.isfinite(ahead.loss[0])
    assert np.isnan(ahead.loss[1])
    assert float(ahead.unfolding[1] + ahead.to_come[1]) > 0.2


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ([500.0], "expected increasing axis values after the last checkpoint, 1000"),
        ([2000.0, 1500.0], "expected increasing"),
        ([], "expected increasing"),
        ([1e40], "windows of the fitted coordinate beyond"),
    ],
)
def test_until_must_lie_ahead(until, message):
    time = checkpoints(LOG)
    with pytest.raises(ValueError, match=message):
        forecast(Spectrum.empty(LOG), time, np.ones(40), until)
    with pytest.raises(ValueError, match="got 500 as last checkpoint"):
        forecast(Spectrum.empty(LOG), np.linspace(1, 500, 40), np.ones(40), [2000.0])
    with pytest.raises(ValueError, match=r"mean_loss: got shape \(39,\)"):
        forecast(Spectrum.empty(LOG), time, np.ones(39), [2000.0])


def test_wider_bands_hold_what_earlier_forecasts_missed():
    """Student's t of three errors at 95%, 2.353, times their rms and the fall; in quadrature with the band."""
    narrow = Bands(np.array([4.0, 3.5]), np.array([3.9, 3.1]), np.array([4.0, 3.6]))
    wide = widened(narrow, np.array(4.0), np.array([0.1, -0.2, 0.2]))
    more = 2.35336 * np.sqrt(0.03) * np.array([0.0, 0.5])
    np.testing.assert_allclose(wide.low, narrow.value - np.hypot([0.1, 0.4], more), rtol=1e-5)
    np.testing.assert_allclose(wide.high, narrow.value + np.hypot([0.0, 0.1], more), rtol=1e-5)
    for errors in ([], [0.1, np.nan], 0.1):
        with pytest.raises(ValueError, match=r"errors: got .* expected one finite share"):
            widened(narrow, np.array(4.0), np.array(errors))
