"""Pictures of the position law and of forecasts over positions: the numbers that are drawn, and the drawing."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_drawing import texts_overlap

from tsl_jax.jobs import PositionLosses
from tsl_jax.plots import draw_position_forecast, draw_position_law, position_forecast_data, position_law_data, save
from tsl_jax.temporal import FORMS, evolution, position_law

STEP, POSITION = np.geomspace(10.0, 1000.0, 12), np.arange(1.0, 33.0)
AMPLITUDE = np.linspace(1.0, 2.0, 12)[:, None]
MEAN = AMPLITUDE / (1 + 0.2 * POSITION) + 2 + 6 * STEP[:, None] ** -0.3
STDERR = np.full_like(MEAN, 0.01)


@pytest.fixture(scope="module")
def planted():
    """A table of planted hyperbolas, with a checkpoint at 0 and a gap, its law and its courses."""
    axis, mean = np.append(0.0, STEP), np.vstack([np.full(32, 8.3), MEAN])
    mean[3, 5] = np.nan
    stderr = np.vstack([STDERR[:1], STDERR])
    count = np.full(mean.shape, 9)
    table = PositionLosses(POSITION, axis, "step", mean, stderr, count, mean[None], count[None])
    law = position_law(POSITION, mean, stderr)
    return table, law, evolution(axis, law.params, law.stderr, forms=FORMS[:1])


def test_the_law_is_drawn_as_it_is(planted):
    point = SimpleNamespace(point=500.0, lower=400.0, upper=700.0, reached=True)
    data = position_law_data(*planted, point, curves=3, bins=6)
    np.testing.assert_allclose(data.axis, STEP)  # the checkpoint at 0 is left out
    np.testing.assert_allclose(data.params["amplitude"], AMPLITUDE[:, 0], rtol=1e-3)
    for name in ("amplitude", "rate", "floor"):
        np.testing.assert_array_equal(data.errors[name], np.asarray(planted[1].stderr[name])[1:])
        (bars,) = draw_position_law(data).axes[1 + ("amplitude", "rate", "floor").index(name)].containers
        ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends[:, 1], data.params[name] + data.errors[name], rtol=1e-6)
    assert data.shown[-1] == STEP[-1]
    assert len(data.shown) == 3
    rows = np.searchsorted(STEP, data.shown)
    exact = AMPLITUDE[rows] / (1 + 0.2 * data.position) + 2 + 6 * STEP[rows, None] ** -0.3
    np.testing.assert_allclose(data.curve, exact, atol=1e-3)
    assert data.separation == (500.0, 400.0, 700.0)
    assert data.reached
    assert np.all(data.ceiling <= 1)
    assert np.all(data.binned > 0.99)


def test_bins_are_weighted_means_with_their_errors(planted):
    data = position_law_data(*planted, curves=1, bins=4)
    assert np.isnan(data.separation).all()
    first = POSITION <= 2  # the first of four bins from 1 to 33
    np.testing.assert_allclose(data.mean[0, 0], MEAN[-1, first].mean())
    np.testing.assert_allclose(data.stderr[0, 0], 0.01 / np.sqrt(2))
    np.testing.assert_allclose(data.place[0], 1.5)


@pytest.fixture
def forecast():
    rows = np.array([1500.0, 2000.0])
    loss = np.stack([MEAN[-1], MEAN[-1] - 0.2])
    half = np.array([0.05, 0.1])[:, None, None]
    total = SimpleNamespace(step=rows)
    return SimpleNamespace(
        position=POSITION, loss=loss, lower=loss - half, upper=loss + half, two_stage=loss + 1, total=total
    )


def test_a_forecast_over_positions_is_pooled_alike(forecast):
    data = position_forecast_data(forecast, STEP[-1], MEAN[-1], MEAN[-1] - 0.25, bins=5)
    np.testing.assert_allclose(data.seen - data.loss, 0.2)
    np.testing.assert_allclose(data.hidden - data.loss, -0.05)
    np.testing.assert_allclose(data.upper - data.loss, np.array([[0.05], [0.1]]) + 0 * data.loss)
    np.testing.assert_allclose(data.two_stage - data.loss, 1)
    assert data.step == 2000.0
    assert position_forecast_data(forecast, STEP[-1], MEAN[-1]).hidden.size == 0


def test_they_are_drawn_without_overlaps(planted, forecast, tmp_path):
    point = SimpleNamespace(point=500.0, lower=400.0, upper=700.0, reached=False)
    figures = {
        "law": draw_position_law(position_law_data(*planted, point)),
        "positions": draw_position_forecast(position_forecast_data(forecast, STEP[-1], MEAN[-1], MEAN[-1] - 0.25)),
    }
    for name, figure in figures.items():
        save(figure, tmp_path / f"{name}.png")
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 10
        assert texts_overlap(figure) == ([], [])
