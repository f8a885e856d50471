"""Pulses by learning time, and singular values of the matrix of all pulses."""

import numpy as np
import pytest
from planted_tokens import LINEAR, LOG, spectrum_of, tokens
from scipy.special import expit

from tsl_jax.spectrum import Spectrum, pulse_groups, pulse_modes

GRIDS = pytest.mark.parametrize("grid", [LOG, LINEAR], ids=["log", "linear"])
BINS = 15  # lag bins a window: four of the grid's each


def sorted_by_time(grid, number=240, seed=0):
    """Events at bin centres, four in each bin, sharper and larger the later; sharpnesses stand for bins."""
    rng = np.random.default_rng(seed)
    u = np.sort(np.repeat(grid.centres, number // grid.time_bins))
    x = (u - grid.origin) / grid.unit
    index = np.clip(np.round(6 + 8 * x + rng.normal(0, 1, number)), 0, grid.sharpness_bins - 2).astype(int)
    return tokens(grid, u, grid.sharpnesses[index] * grid.unit, 1 + 3 * x + rng.normal(0, 0.5, number))


def pulses(grid, planted, bins):
    """(tokens, lag bins) densities of the tokens' centred pulses, averaged over lag bins centred on 0."""
    edges = grid.unit / bins * (np.arange(-bins, bins + 2) - 0.5)
    return planted.drop[:, None] * np.diff(expit(planted.sharpness[:, None] * edges), axis=1) * bins / grid.unit


@GRIDS
def test_groups_are_means_over_their_tokens(grid):
    planted = sorted_by_time(grid)
    groups = pulse_groups(spectrum_of(grid, planted), 12)
    rows = planted.u.reshape(12, 20)
    np.testing.assert_allclose(groups.events, 20, rtol=1e-5)
    np.testing.assert_allclose(groups.u, rows.mean(1), rtol=1e-5)
    np.testing.assert_allclose(groups.start[1:], groups.end[:-1])
    np.testing.assert_allclose([groups.start[0], groups.end[-1]], grid.edges[[0, -1]], atol=1e-5 * grid.unit)
    drops, logs = planted.drop.reshape(12, 20), np.log(planted.sharpness).reshape(12, 20)
    np.testing.assert_allclose(groups.drop, drops.mean(1), rtol=1e-4)
    np.testing.assert_allclose(groups.drop_std, drops.std(1), rtol=2e-3)
    np.testing.assert_allclose(groups.log_sharpness, logs.mean(1), atol=1e-4)
    np.testing.assert_allclose(groups.log_sharpness_std, logs.std(1), atol=2e-3)
    fine = pulses(grid, planted, grid.time_bins).reshape(12, 20, -1).mean(1)
    np.testing.assert_allclose(groups.pulse, fine, atol=1e-4 * fine.max())


def test_groups_split_bins_in_proportion():
    planted = tokens(LOG, np.full(90, LOG.centres[30]), 20.0, 2.0)
    groups = pulse_groups(spectrum_of(LOG, planted), 4)
    np.testing.assert_allclose(groups.events, 22.5, rtol=1e-5)
    np.testing.assert_allclose(groups.drop, 2, rtol=1e-5)


@GRIDS
@pytest.mark.parametrize("unit_area", [False, True], ids=["drops", "unit area"])
def test_modes_are_those_of_the_matrix_of_all_pulses(grid, unit_area):
    planted = sorted_by_time(grid)
    matrix = pulses(grid, planted, BINS)
    if unit_area:
        matrix = matrix / planted.drop[:, None]
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    modes = pulse_modes(spectrum_of(grid, planted), unit_area=unit_area, resolution=BINS, modes=3)
    width = np.sqrt(grid.unit / BINS)
    np.testing.assert_allclose(modes.values[:4] / modes.values[0], values[:4] / values[0], atol=2e-3)
    np.testing.assert_allclose(modes.values[0], values[0] * width, rtol=2e-3)
    np.testing.assert_allclose(modes.energy[:4], (values**2 / np.sum(values**2))[:4], atol=2e-3)
    for mode, expected in zip(np.asarray(modes.modes), right, strict=False):
        expected = expected * np.sign(expected[np.argmax(np.abs(expected))])
        np.testing.assert_allclose(mode, expected, atol=0.02)
    np.testing.assert_allclose(modes.lags, np.arange(-BINS, BINS + 1) * grid.unit / BINS, rtol=1e-5)


def test_one_pulse_is_one_mode():
    planted = tokens(LOG, np.linspace(0.5, 6.5, 100), LOG.sharpnesses[8] * LOG.unit, np.linspace(0.5, 6, 100))
    spectrum = spectrum_of(LOG, planted)
    for options in ({"unit_area": True}, {"groups": 5}, {"groups": 5, "unit_area": True}, {}):
        assert float(pulse_modes(spectrum, **options).energy[0]) == pytest.approx(1, abs=1e-5)


def test_without_events_there_is_no_pulse():
    spectrum = Spectrum.empty(LOG)
    assert np.all(np.isnan(pulse_groups(spectrum, 3).pulse))
    assert np.all(np.isnan(pulse_modes(spectrum).energy))
    assert np.all(np.isnan(pulse_modes(spectrum, groups=3).energy))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "resolution: got 0"),
        ({"modes": 22}, "modes: got 22, expected 1 to 21"),
        ({"groups": 0}, "groups"),
    ],
)
def test_options_outside_their_range_raise(options, message):
    with pytest.raises(ValueError, match=message):
        pulse_modes(Spectrum.empty(LOG), **options)
