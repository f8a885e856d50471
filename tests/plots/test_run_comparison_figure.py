"""The picture of runs compared: its numbers, and the drawing."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from test_drawing import texts_overlap

from tests.seeded_runs import compare_tokens, planted_runs
from tsl_jax.fitting import Category
from tsl_jax.plots import draw_run_comparison, run_comparison_data, save
from tsl_jax.runs import coordinates_of


@pytest.fixture(scope="module")
def fits():
    return planted_runs(6000, factor=3.0, seed=50)[0]


@pytest.fixture(scope="module")
def data(fits):
    return run_comparison_data(compare_tokens(fits))


def test_the_numbers_are_those_of_the_tokens(fits, data):
    falls = fits[0].params["loss_drop"] > 0
    times = [np.clip(run.params["learning_time"][falls], 1.001, 999) for run in fits]
    assert (data.parameter, data.labels, data.axis_name, data.scale) == (
        "learning_time",
        ("run 0", "run 1"),
        "step",
        "log",
    )
    np.testing.assert_allclose(data.edges[[0, -1]], (1, 1000))
    np.testing.assert_array_equal(data.tokens, np.histogram2d(*times, bins=(data.edges, data.edges))[0])
    s = [run.stderr["learning_time"][falls] / run.params["learning_time"][falls] for run in fits]
    d = np.diff(np.log([run.params["learning_time"][falls] for run in fits]), axis=0)[0]
    width = np.diff(data.z_edges)
    exact = np.histogram(d / np.hypot(*s), data.z_edges)[0] / falls.sum() / width
    assert np.max(np.abs(data.z - exact)) < 0.02
    wide = np.abs(d / np.hypot(*s)) / np.sqrt(3)
    exact = np.histogram(np.concatenate([wide, -wide]), data.z_edges)[0] / (2 * falls.sum()) / width
    assert np.max(np.abs(data.z_between_runs - exact)) < 0.03
    assert data.by_sharpness
    assert len(data.groups) == len(data.group_coverage) == 8
    assert np.all(np.diff(data.groups) > 0)
    assert np.all(data.group_coverage_between_runs > data.group_coverage)


def test_it_is_drawn_as_it_is(data, tmp_path):
    figure = draw_run_comparison(data)
    save(figure, tmp_path / "runs.png")
    assert texts_overlap(figure) == ([], [])
    with Image.open(tmp_path / "runs.png") as picture:
        assert 20 < np.asarray(picture.convert("L")).std() < 100
    values, z, correlation, coverage = figure.axes
    np.testing.assert_array_equal(values.collections[0].get_array().filled(0), data.tokens.T)
    assert values.get_xlabel() == "in run 0 (training step)"
    assert [patch.get_label() for patch in z.patches] == ["standard errors", "with component"]
    np.testing.assert_array_equal(z.patches[0].get_data().values, data.z)
    np.testing.assert_array_equal(correlation.get_lines()[0].get_ydata(), data.group_correlation)
    np.testing.assert_array_equal(coverage.get_lines()[1].get_ydata(), 100 * data.group_coverage)


def other_runs(kind, fits):
    """Comparisons that have no groups by sharpness, no component, no log scale, or more than two runs."""
    if kind == "three runs":
        return compare_tokens(planted_runs(500, 3, seed=51)[0])
    if kind == "few tokens":
        return compare_tokens(planted_runs(20, seed=52)[0])
    if kind == "no tokens":
        nothing = [dataclasses.replace(run, category=np.full(6000, Category.LATE, "uint8")) for run in fits]
        return compare_tokens(nothing)
    if kind == "linear":
        coordinates = coordinates_of({"learning_time": "axis", "loss_drop": "nat"}, "linear", 999.0)
        return dataclasses.replace(compare_tokens(fits, coordinates=coordinates), scale="linear")
    return compare_tokens(fits, coordinates=coordinates_of({"final_loss": "nat"}, "linear"), event=None)


@pytest.mark.parametrize("kind", ["three runs", "few tokens", "no tokens", "linear", "no events"])
def test_what_is_not_there_is_left_out(kind, fits, tmp_path):
    data = run_comparison_data(other_runs(kind, fits))
    figure = draw_run_comparison(data)
    save(figure, tmp_path / "runs.png")
    assert texts_overlap(figure) == ([], [])
    if kind == "no events":
        assert data.tokens.sum() == 6000
        assert not data.by_sharpness
        assert figure.axes[0].get_xlabel() == "in run 0 (share of the tokens below)"
    if kind in ("few tokens", "no tokens"):
        assert np.isnan(data.z_between_runs).all()
    if kind == "three runs":
        assert data.labels == ("one run", "another run")
    if kind == "linear":
        assert figure.axes[0].get_yscale() == "linear"
