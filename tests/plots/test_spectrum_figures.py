"""Pictures of a spectrum: the numbers that are drawn, and the drawing, on planted fits."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image
from planted_store import STEP, planted_columns, write_fit_store
from test_drawing import texts_overlap

from tsl_jax.fitting import Category
from tsl_jax.jobs import AnalysisOptions, analyse, coarse_lags, mean_curves, read_spectrum
from tsl_jax.plots import (
    aligned_pulses_data,
    draw_aligned_pulses,
    draw_group_spectra,
    draw_singular_spectrum,
    draw_spectrum_parts,
    group_spectra_data,
    save,
    singular_spectrum_data,
    spectrum_parts_data,
)
from tsl_jax.spectrum import SpectrumGrid

TOKENS = 1200
GRID = SpectrumGrid(1.0, 256.0, "log", time_bins=64, sharpness_bins=12, resamples=16)
OPTIONS = AnalysisOptions(replicates=20, pulse_groups=5)
FIGURES = {
    "parts": lambda analysis: draw_spectrum_parts(spectrum_parts_data(analysis)),
    "pulses": lambda analysis: draw_aligned_pulses(aligned_pulses_data(analysis)),
    "modes": lambda analysis: draw_singular_spectrum(singular_spectrum_data(analysis)),
    "domain": lambda analysis: draw_group_spectra(group_spectra_data(analysis, "domain")),
    "position": lambda analysis: draw_group_spectra(group_spectra_data(analysis, "position")),
}


@pytest.fixture(scope="module")
def columns():
    return planted_columns(TOKENS)


@pytest.fixture(scope="module")
def store(columns, tmp_path_factory):
    number = np.arange(TOKENS)
    coordinates = {
        "sequence": (number // 20).astype("int32"),
        "position": (number % 20).astype("int32"),
        "domain": (number // 20 % 2).astype("int8"),
    }
    names = {"domains": ["verse", "prose"]}
    folder = tmp_path_factory.mktemp("figures")
    return write_fit_store(folder, columns, coordinates=coordinates, attributes=names, chunk=300)


@pytest.fixture(scope="module")
def analysis(store):
    losses = store.location.directory.parent / "losses.zarr"
    return analyse(read_spectrum(store, losses, by=["domain", "position"], bins=4, grid=GRID), OPTIONS)


def test_the_density_drawn_is_the_histogram_of_events(analysis, columns):
    data = spectrum_parts_data(analysis)
    learned = columns["category"] == Category.LEARNED
    counts = np.histogram(columns["learning_time"][learned], data.edges)[0]
    width = np.diff(np.log(data.edges))
    # float32 may put an event on the edge of a bin into its neighbour.
    np.testing.assert_allclose(data.density.value[0] * width, counts / learned.sum(), atol=2 / learned.sum())
    assert np.all(data.density.low <= data.density.high)
    assert data.tokens == TOKENS
    outside = np.isin(columns["category"], [Category.EARLY, Category.LATE]).mean()
    np.testing.assert_allclose(data.outside, outside)


def test_means_and_their_r2_are_those_of_all_tokens(analysis, store):
    data = spectrum_parts_data(analysis)
    means = mean_curves(store.location.directory.parent / "losses.zarr", store)
    np.testing.assert_array_equal(data.loss_axis, STEP[1:])
    np.testing.assert_allclose(data.mean_loss.value, means.mean_loss[1:], rtol=1e-5)
    np.testing.assert_allclose(data.mean_fit.value, means.mean_fit[1:], rtol=1e-5)
    loss = means.mean_loss[1:]
    expected = 1 - np.sum((means.mean_fit[1:] - loss) ** 2) / np.sum((loss - loss.mean()) ** 2)
    np.testing.assert_allclose(data.mean_fit_r2, expected, atol=1e-4)
    np.testing.assert_allclose(data.implied_loss.value[[0, -1]], means.mean_fit[[1, -1]], atol=0.05)


def test_derivatives_are_the_falls_of_the_means(analysis):
    data = spectrum_parts_data(analysis)
    for name, curve in data.derivatives.items():
        fall = np.sum(curve.value) * GRID.width
        means = data.mean_loss if name == "observed" else data.mean_fit
        np.testing.assert_allclose(fall, means.value[0] - means.value[-1], rtol=0.05)
    assert set(data.r2) == {"implied", "p * g"}
    assert data.r2["implied"] > 0.95


def test_the_tail_drawn_has_the_area_of_the_events_in_it(analysis, columns):
    data = spectrum_parts_data(analysis)
    axis, law = data.tail_curve
    exponent, low, high, first, last = data.tail
    assert axis[[0, -1]] == pytest.approx([first, last])
    slope = np.polyfit(np.log(axis), np.log(law), 1)[0]  # p(a) = p(u) du/da, one power less
    assert slope - 1 == pytest.approx(-exponent)
    assert low <= exponent <= high
    time, learned = columns["learning_time"], columns["category"] == Category.LEARNED
    inside = learned & (columns["loss_drop"] > 0) & (time > first) & (time < last)
    assert np.trapezoid(law, np.log(axis)) == pytest.approx(inside.sum() / learned.sum(), rel=0.02)


def test_a_tail_is_a_straight_line_on_logarithmic_axes(analysis):
    data = spectrum_parts_data(analysis)
    axes = draw_spectrum_parts(data).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    (line,) = (each for each in axes.get_lines() if len(each.get_xdata()) == len(data.tail_curve[0]))
    slopes = np.diff(np.log(line.get_ydata())) / np.diff(np.log(line.get_xdata()))
    np.testing.assert_allclose(slopes, 1 - data.tail[0], atol=1e-3)
    low, high = axes.get_ylim()
    assert low < line.get_ydata().min()
    assert np.nanmax(data.density.high) < high


def test_shares_of_energy_fill_their_axis(analysis):
    data = singular_spectrum_data(analysis)
    low, high = draw_singular_spectrum(data).axes[0].get_ylim()
    least = min(fraction.value.min() for fraction in data.energy.values())
    assert high < 2
    assert low <= max(least, 1e-5) < 10 * low or low == 1e-2


def test_pulses_by_learning_time_have_the_drops_of_their_events(analysis, columns):
    data = aligned_pulses_data(analysis)
    learned = columns["category"] == Category.LEARNED
    order = np.argsort(columns["learning_time"][learned])
    drops = np.array([part.mean() for part in np.array_split(columns["loss_drop"][learned][order], 5)])
    times = [np.log(part).mean() for part in np.array_split(columns["learning_time"][learned][order], 5)]
    np.testing.assert_allclose(data.drop.value, drops, atol=0.1)
    np.testing.assert_allclose(np.log(data.time), times, atol=GRID.width)
    np.testing.assert_array_equal(data.lags, coarse_lags(GRID))
    area = data.pulse.value.sum(1) * (data.lags[1] - data.lags[0])
    assert np.all((area > 0.8 * drops) & (area < 1.001 * drops))  # what lies beyond half a window is not shown
    assert data.events == pytest.approx(learned.sum() / 5, abs=1)


def test_energy_shares_are_shares(analysis):
    data = singular_spectrum_data(analysis)
    for share in data.energy.values():
        assert np.all(np.diff(share.value) <= 1e-6)
        assert 0.9 < share.value.sum() <= 1 + 1e-5
    norms = np.linalg.norm(data.modes.value, axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-4)


def test_groups_are_those_of_the_coordinate(analysis, columns):
    data = group_spectra_data(analysis, "domain")
    falls = (columns["category"] == Category.LEARNED) & (columns["loss_drop"] > 0)
    domain = np.arange(TOKENS) // 20 % 2
    assert data.labels == ("verse", "prose")
    assert data.ungrouped == 0
    for code in (0, 1):
        mine = columns["learning_time"][falls & (domain == code)]
        assert abs(np.log(data.median.value[code] / np.median(mine))) < GRID.width
        assert data.median.low[code] <= data.median.value[code] <= data.median.high[code]
        assert data.tokens[code] == np.sum(domain == code)
        counts = np.histogram(mine, data.edges)[0] / len(mine)
        np.testing.assert_allclose(data.spectrum.value[code] * np.diff(np.log(data.edges)), counts, atol=2 / len(mine))
    with pytest.raises(ValueError, match="coordinate: got 'colour', expected one that was grouped by: domain"):
        group_spectra_data(analysis, "colour")


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_written_small_and_without_overlaps(name, analysis, tmp_path):
    figure = FIGURES[name](analysis)
    save(figure, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width <= 1600
        assert 10 < np.asarray(picture.convert("L")).std() < 100
    assert (tmp_path / "picture.png").stat().st_size < 300_000
    assert texts_overlap(figure) == ([], [])


@pytest.mark.parametrize("name", FIGURES)
def test_pictures_without_bands_losses_and_tail(name, analysis, tmp_path):
    bare = without_bands_and_losses(analysis)
    figure = FIGURES[name](bare)
    save(figure, tmp_path / "picture.png")
    assert texts_overlap(figure) == ([], [])
    if name == "parts":
        assert not any(axes.collections for axes in figure.axes)  # no band
        assert "no bands" in " ".join(text.get_text() for text in figure.texts)


def without_bands_and_losses(analysis):
    tails = {
        name: jax.tree.map(lambda value: np.float32(np.nan), tail) for name, tail in analysis.curves.value.tails.items()
    }
    value = dataclasses.replace(analysis.curves.value, comparison=None, mean_loss=None, mean_fit=None, tails=tails)
    unknown = jax.tree.map(lambda array: np.full(np.shape(array), np.nan), value)
    groups = {
        name: dataclasses.replace(
            group,
            times=dataclasses.replace(
                group.times,
                low=jax.tree.map(lambda array: np.full(array.shape, np.nan), group.times.low),
                high=jax.tree.map(lambda array: np.full(array.shape, np.nan), group.times.high),
            ),
        )
        for name, group in analysis.groups.items()
    }
    curves = dataclasses.replace(analysis.curves, value=value, low=unknown, high=unknown)
    return dataclasses.replace(analysis, curves=curves, groups=groups, checkpoints=analysis.checkpoints[:0])


def test_two_parts_weighted_by_drop(analysis, tmp_path):
    read = dataclasses.replace(analysis.read, groups={})
    data = spectrum_parts_data(analyse(read, dataclasses.replace(OPTIONS, weighting="drop")))
    assert data.density.value.shape[0] == data.pulse.value.shape[0] == 2
    figure = draw_spectrum_parts(data)
    save(figure, tmp_path / "picture.png")
    assert texts_overlap(figure) == ([], [])
