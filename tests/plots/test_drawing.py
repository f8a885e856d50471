"""The pictures: they are drawn without warnings, show the data, and leave Matplotlib's global state alone."""

import matplotlib
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from PIL import Image

from tsl_jax.plots import (
    draw_learning_times,
    draw_mean_loss,
    draw_tokens,
    learning_times_data,
    mean_loss_data,
    save,
    tokens_data,
)

FIGURES = {
    "tokens": lambda stores: draw_tokens(tokens_data(stores.losses, stores.fits)),
    "learning_times": lambda stores: draw_learning_times(learning_times_data(stores.fits)),
    "mean_loss": lambda stores: draw_mean_loss(mean_loss_data(stores.losses, stores.fits)),
}


def drawn_texts(figure):
    """All texts of a figure; of tick labels those within the limits of their axis."""
    yield from figure.texts
    for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]:
        yield from legend.get_texts() if legend else ()
    for axes in figure.axes:
        yield from [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            yield from [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def texts_overlap(figure):
    """Texts that leave the figure, and pairs whose boxes overlap by more than a pixel."""
    renderer = figure.canvas.get_renderer()
    texts = [text for text in drawn_texts(figure) if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent(renderer).padded(-1)) for text in texts]
    inside = figure.bbox.padded(2)
    outside = [name for name, box in boxes if not (inside.contains(*box.min) and inside.contains(*box.max))]
    pairs = [(a, b) for i, (a, one) in enumerate(boxes) for b, two in boxes[i + 1 :] if one.overlaps(two)]
    return outside, pairs


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_written_small_and_without_overlaps(name, stores, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = FIGURES[name](stores)
    save(figure, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width <= 1600
        pixels = np.asarray(picture.convert("L"))
    assert 20 < pixels.std() < 100
    assert (tmp_path / "picture.png").stat().st_size < 300_000
    assert dict(matplotlib.rcParams) == before
    assert texts_overlap(figure) == ([], [])


def test_mean_loss_draws_its_data(stores):
    data = mean_loss_data(stores.losses, stores.fits)
    upper, lower = draw_mean_loss(data).axes
    drawn = [line.get_ydata() for line in upper.get_lines()]
    np.testing.assert_array_equal(drawn, [data.mean_loss, data.mean_fit])
    np.testing.assert_array_equal(lower.get_lines()[-1].get_ydata(), data.residual)
    assert lower.get_xlabel() == "training step"
    assert "at 0 left out" in upper.get_title("left")


def test_tokens_draws_a_panel_for_each_token(stores):
    data = tokens_data(stores.losses, stores.fits)
    axes = draw_tokens(data).axes
    assert len(axes) == 18
    for one, panel in zip(axes, [panel for row in data.panels for panel in row], strict=True):
        np.testing.assert_array_equal(one.get_lines()[0].get_ydata(), panel.losses)
        np.testing.assert_array_equal(one.get_lines()[1].get_ydata(), panel.fitted)
        assert f"token {panel.token:,}" in one.get_title()
        assert panel.labels["domain"] in one.get_title()
        assert f"position {panel.labels['position']}" in one.get_title()


def test_learning_times_counts_what_lies_outside_in_words(stores):
    data = learning_times_data(stores.fits)
    axes = draw_learning_times(data).axes
    for one, group in zip(axes, data.groups, strict=True):
        words = " ".join(text.get_text() for text in one.texts)
        assert f"EARLY {group.categories['EARLY']}" in words
        assert f"LATE {group.categories['LATE']}" in words
        assert f"UNLEARNED {group.categories['UNLEARNED']}" in words


def test_other_formats_by_the_ending(stores, tmp_path):
    save(FIGURES["mean_loss"](stores), tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text()


def test_without_domains_and_with_pending_blocks(tmp_path, write):
    some = write(tmp_path, domains=False, finished=False)
    for name, figure in FIGURES.items():
        drawn = figure(some)
        save(drawn, tmp_path / f"{name}.png")
        assert texts_overlap(drawn) == ([], [])


def test_on_a_linear_scale_the_checkpoint_at_0_is_there(tmp_path, write):
    some = write(tmp_path, scale="linear", family_fields={"scale": "linear"}, left_out_checkpoints=())
    for name, figure in FIGURES.items():
        drawn = figure(some)
        save(drawn, tmp_path / f"{name}.png")
        axes = drawn.axes[-1]
        assert axes.get_xscale() == "linear"
        assert axes.get_xlim()[0] < 0 < 128 < axes.get_xlim()[1]
        assert texts_overlap(drawn) == ([], [])


def test_no_figure_is_registered_with_pyplot(stores):
    for figure in FIGURES.values():
        figure(stores)
    assert Gcf.get_all_fig_managers() == []
