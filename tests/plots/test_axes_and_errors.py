"""What pictures must not leave out: numbers on axes, errors, all losses, legends, words within the figure."""

from dataclasses import replace

import numpy as np
import pytest
from test_drawing import texts_overlap

from tsl_jax.jobs import BucketCurves, SampleWeights
from tsl_jax.plots import ForecastCurves, RankBars, TimescaleLine, draw_forecast, draw_rank, draw_timescale, save
from tsl_jax.plots.buckets import buckets_data, draw_buckets
from tsl_jax.plots.style import axis_of_fit, new_figure, ticks_between

RANGES = [
    (1, 1600),
    (300, 900),
    (23, 1600),
    (1e-3, 1.2e-3),
    (4e5, 4.4e5),
    (0.7, 6.5),
    (9.9, 10.1),
    (2, 2000),
    (1.01, 9.9),
]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_an_axis_has_two_numbers_at_least(low, high):
    ticks = ticks_between(low, high)
    decades = [10.0**power for power in range(-9, 9) if low <= 10.0**power <= high]
    assert len(decades if ticks is None else ticks) >= 2
    assert ticks is None or all(low <= tick <= high for tick in ticks)
    figure = new_figure(3, 2)
    axes = figure.add_subplot()
    axis_of_fit(axes, "log", low, high)
    shown = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    assert len(shown) >= 2
    # Where they lie close to each other they still differ.
    assert len({axes.xaxis.get_major_formatter()(tick, None) for tick in shown}) == len(shown)


def forecast(first_loss, scheduled, first_step=10.0):
    step = np.arange(10.0, 510, 10)
    loss = 3 + (first_loss - 3) * (step / 10) ** -1.5
    step[0] = first_step
    ahead = np.array([500.0, 700, 1000])
    band = np.array([0.02, 0.05])[:, None] * np.array([0, 1, 2])
    rate = np.linspace(1, 0, 40) if scheduled else np.zeros(0)
    mean = np.array([loss[-1], 3.0, 2.99])
    known = {"hidden_step": ahead[1:], "hidden_loss": mean[1:], "mse": 1e-4, "warnings": ()}
    known |= {"rate": rate, "rate_step": np.linspace(1, 1000, len(rate))}
    return ForecastCurves(step, loss, ahead, mean, mean - band, mean + band, **known)


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(("first_loss", "panels"), [(11.0, 2), (3.05, 1)])
def test_all_losses_are_within_a_panel_of_a_forecast(tmp_path, first_loss, panels, scheduled):
    data = forecast(first_loss, scheduled)
    figure = draw_forecast(data)
    losses = [axes for axes in figure.axes if axes.get_ylabel() != "rate / peak"]
    assert len(losses) == panels
    widest = losses[-1].get_ylim()
    assert widest[0] < data.seen_loss.min()
    assert data.seen_loss.max() < widest[1]
    if panels == 2:
        assert losses[0].get_ylim()[1] < data.seen_loss.max()
        assert losses[-1].get_xscale() == "log"
    save(figure, tmp_path / "a.png")
    assert texts_overlap(figure) == ([], [])


def test_a_loss_at_step_0_is_drawn_left_of_the_others(tmp_path):
    data = forecast(11.0, False, first_step=0.0)
    figure = draw_forecast(data)
    axes = next(axes for axes in figure.axes if axes.get_xscale() == "log")
    drawn = np.concatenate([line.get_xydata() for line in axes.get_lines() if len(line.get_xdata()) == 1])
    np.testing.assert_array_equal(drawn, [[10, 11.0]])  # half of 20, the first step that has a logarithm
    assert axes.get_xlim()[0] < 10
    assert axes.get_ylim()[1] > 11
    save(figure, tmp_path / "a.png")
    assert texts_overlap(figure) == ([], [])


def test_the_bands_of_a_ranking_have_a_legend_and_every_word_is_whole(tmp_path):
    mean = np.array([3.301, 3.305, 3.352])
    half = np.array([[0.01], [0.03]])
    choice, fractions = np.array([-1, 1, 0, 0]), np.array([0.2, 0.4, 0.7, 1.0])
    names = ("wsd_20000_24000", "a", "cosine_24000_with_a_long_name")
    probability = np.array([0.9, 0.1, 0.0])
    figure = draw_rank(RankBars(names, mean, mean - half, mean + half, probability, fractions, choice, 24000.0))
    save(figure, tmp_path / "a.png")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["90% band", "50% band", "expected"]
    assert texts_overlap(figure) == ([], [])


def test_two_axes_of_a_time_law_have_numbers(tmp_path):
    axis = np.linspace(1500.0, 2900, 30)
    line = TimescaleLine("run", axis, 0.4 * (axis / 1500) ** -0.5, 0.4 * (axis / 1500) ** -0.5, 0.5, 0.4, 0.6)
    figure = draw_timescale({"lr_sum": (line,), "step": (line,)})
    save(figure, tmp_path / "a.png")
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            assert sum(low <= tick <= high for tick in axis.get_majorticklocs()) >= 2
    assert texts_overlap(figure) == ([], [])


def test_falls_of_buckets_have_their_errors(tmp_path):
    axis = np.array([0, 10, 100, 1000])
    loss = np.array([[9.0, 8, 6, 5], [9, 8, 7, 4]])
    curves = BucketCurves(axis, loss, np.array([2.0, 1.0]), np.array([0.3, 0.2]))
    bucket, score, weight = np.array([0, 1, 1]), np.array([0.1, 0.3, 0.5]), np.array([0.8, 1.2, 1.2])
    weights = SampleWeights(np.arange(3), np.full(3, 9), score * 9, score, bucket, weight, ())
    data = buckets_data("step", "log", (10, 100), weights, curves)
    assert data.axis.tolist() == [10, 100, 1000]
    assert data.score.tolist() == [0.1, 0.4]
    figure = draw_buckets(data)
    (bars,) = (each for each in figure.axes[1].containers if each.__class__.__name__ == "ErrorbarContainer")
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[1.7, 2.3], [0.8, 1.2]])
    save(figure, tmp_path / "a.png")
    assert texts_overlap(figure) == ([], [])
    by_drop = draw_buckets(buckets_data("step", "log", (10, 100), replace(weights, weighting="drop"), curves))
    assert [each.axes[1].get_xlabel() for each in (figure, by_drop)] == ["bucket, by score", "bucket, by score by drop"]
    save(by_drop, tmp_path / "a.png")
    assert texts_overlap(by_drop) == ([], [])
