"""The demo, end to end, as a new user runs it; and the sample it runs on."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image

from tsl_jax.cli.solved import best_rss
from tsl_jax.data import sample_path
from tsl_jax.fitting import Category
from tsl_jax.store import open_fits, open_losses

MOST_SAMPLE_BYTES = 4_000_000


@pytest.fixture(scope="module")
def said(demo):
    assert demo.code == 0, demo.err
    return json.loads(demo.out)


def test_it_writes_the_fits_and_the_pictures(demo, said):
    fits = open_fits(demo.folder / said["fits"])
    assert fits.complete
    assert fits.num_tokens == said["tokens"] == sum(said["category_counts"].values()) == 25600
    assert len(said["pictures"]) == 3
    for name in said["pictures"]:
        with Image.open(demo.folder / name) as picture:
            assert 800 <= picture.width <= 1600


def test_medians_by_domain_are_those_of_the_store(demo, said):
    fits = open_fits(demo.folder / said["fits"])
    stored, domain = fits.read(), fits.read_coordinate("domain")
    assert list(said["median_learning_time"]) == fits.attributes["domains"]
    for code, median in enumerate(said["median_learning_time"].values()):
        rows = (domain == code) & (stored.category == Category.LEARNED) & (stored.params["loss_drop"] > 0)
        assert median == pytest.approx(np.median(stored.params["learning_time"][rows]))


def test_nearly_all_tokens_are_solved(said):
    assert said["solved"]["sampled_tokens"] == 100
    assert said["solved"]["fraction"] >= 0.98
    assert said["settled_fraction"] > 0.97


def test_words_go_to_stderr(demo, said):
    for words in (
        "25,600 tokens x 101 checkpoints",
        "LEARNED",
        "Median learning time",
        "scripture",
        "Solved (rss within 1% of SciPy's best of 9 starts)",
        "fits/s",
        "s for compiling",
        "Left out: checkpoint 0",
        "mean_loss.png",
    ):
        assert words in demo.err
    for trouble in ("Warning", "Traceback"):
        assert trouble not in demo.err


def test_an_output_that_is_a_file_is_refused(tsl, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = tsl("demo", "--out", tmp_path / "out")
    assert result.code == 1
    assert "out" in result.err
    assert (tmp_path / "out").read_text() == "mine"


def test_scipy_finds_a_planted_sigmoid():
    x = np.linspace(0, 1, 60)
    losses = 1 + 5 / (1 + np.exp(15 * (x - 0.62))) + np.random.default_rng(0).normal(0, 0.05, 60)
    options = {"min_plateau": 0.0, "max_plateau_ratio": None}
    bounds = [np.array([-1.0, -0.7]), np.array([2.0, 7.0])]
    noise = np.sum((losses - 1 - 5 / (1 + np.exp(15 * (x - 0.62)))) ** 2)
    assert 0.8 * noise < best_rss(x, losses, bounds, options) < noise


def test_the_sample_is_small_whole_and_of_all_domains():
    losses = open_losses(sample_path())
    assert losses.losses.dtype == np.float16
    assert losses.axes == ("lr_sum", "step", "tokens_seen")
    domain, sequence = (losses.read_coordinate(name).reshape(-1, 256) for name in ("domain", "sequence"))
    assert np.bincount(domain[:, 0]).tolist() == [20] * 5
    assert np.all(sequence == np.array(losses.attributes["sample"]["sequences"])[:, None])
    assert np.all(losses.read_coordinate("position").reshape(-1, 256) == np.arange(256))
    assert sum(file.stat().st_size for file in sample_path().rglob("*") if file.is_file()) <= MOST_SAMPLE_BYTES
    assert not np.isnan(losses.read()).any()


def test_the_sample_is_a_slice_of_the_real_losses(real_lm, tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "make_sample.py"
    spec = importlib.util.spec_from_file_location("make_sample", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.make_sample(str(real_lm), str(tmp_path / "sample.zarr"))
    shipped, full = (zarr.open_group(path, mode="r") for path in (sample_path(), real_lm))
    again = zarr.open_group(made.location.store, mode="r")
    assert set(shipped) == set(again) == set(full)
    for name in full:
        np.testing.assert_array_equal(shipped[name][:], again[name][:])
    rows = np.isin(full["sequence"][:], made.attributes["sample"]["sequences"])
    np.testing.assert_array_equal(shipped["losses"][:], full["losses"][:][rows])
    assert dict(shipped.attrs) == dict(again.attrs)
    assert shipped.attrs["corpus"] == full.attrs["corpus"]
