"""The streamed job gives what `fit` gives, for every kind of store, dtype and family."""

import dataclasses
import functools
import pickle
import shutil

import jax
import numpy as np
import pytest
import xarray as xr
from small_job import STEPS, Job, cheap_fit, cheap_noise_model
from zarr.storage import MemoryStore

from tsl_jax.curves import Hyperbola, PowerLaw, Sigmoid
from tsl_jax.fitting import Category, FitOptions, Status, chosen_kernel, degrees_of_freedom
from tsl_jax.jobs import FitSummary, fit_store, mean_curves, predict_store
from tsl_jax.jobs.fit.columns import fit_columns, noted
from tsl_jax.store import StoreError, create_losses, open_fits, validate

pytestmark = pytest.mark.usefixtures("cheap_engine")


@functools.cache
def jitted_fit(family, time, options):
    return jax.jit(lambda rows, noise: cheap_fit(family, np.asarray(time), rows, options=options, noise=noise))


def in_memory(losses, family, options, time=STEPS):
    """What `fit` says of all losses at once, with the noise that they show, as the columns of a fit store."""
    noise = cheap_noise_model(family, time, losses, options=options) if len(losses) >= 32 else None
    fitted = jitted_fit(family, tuple(time), options)(losses, noise)
    return {name: np.asarray(values) for name, values in fit_columns(fitted).items()}


def stored(target):
    fits = open_fits(target)
    return {name: array[:] for name, array in fits.arrays.items()}


def check_equal(target, expected):
    got = stored(target)
    assert set(got) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values, err_msg=name)


OPTIONS = FitOptions(block_size=32, max_steps=8)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_streamed_is_in_memory(dtype):
    job = Job(MemoryStore())
    job.write(dtype)
    target = MemoryStore()
    summary = job.fit(target)
    check_equal(target, in_memory(job.values(dtype), Sigmoid(), OPTIONS))
    assert (summary.blocks, summary.blocks_run, summary.tokens_run) == (3, 3, 150)
    assert summary.kernel_name == open_fits(target).options["kernel"] == chosen_kernel(Sigmoid(), OPTIONS, "float32")
    assert validate(target) == []


def test_float64_that_holds_in_the_callers_thread_alone_holds_in_all():
    job = Job(MemoryStore())
    job.write("float64")
    target = MemoryStore()
    with jax.enable_x64(True):
        job.fit(target)
        expected = in_memory(job.values("float64"), Sigmoid(), OPTIONS)
    assert expected["rss"].dtype == "float64"
    check_equal(target, expected)


@pytest.mark.parametrize("family", [Sigmoid(scale="linear"), Hyperbola(), PowerLaw()])
def test_every_family_goes_the_same_way(family):
    job = Job(MemoryStore())
    job.write()
    target = MemoryStore()
    job.fit(target, family)
    check_equal(target, in_memory(job.values(), family, OPTIONS))
    fits = open_fits(target)
    assert (fits.family, fits.parameters, fits.scale) == (family.name, family.names, family.scale)


@pytest.mark.parametrize("layout", ["sharded", "unsharded", "zip", "one_chunk", "odd", "path"])
def test_every_layout_gives_the_same(layout, tmp_path):
    job = Job(tmp_path / "losses.zarr" if layout in ("zip", "path") else MemoryStore())
    if layout == "unsharded":
        job.write(chunk_tokens=16, shard_tokens=16)
    elif layout == "one_chunk":
        job.write(chunk_tokens=1000, shard_tokens=1000)
    elif layout == "odd":
        job.write(chunk_tokens=7, shard_tokens=21)
    else:
        job.write()
    if layout == "zip":
        shutil.make_archive(str(tmp_path / "losses"), "zip", tmp_path / "losses.zarr")
        job = Job(tmp_path / "losses.zip")
    target = tmp_path / "fits.zarr" if layout == "path" else MemoryStore()
    job.fit(target)
    check_equal(target, in_memory(job.values(), Sigmoid(), OPTIONS))


@pytest.mark.parametrize("tokens", [0, 1])
def test_stores_of_no_and_of_one_token(tokens):
    job, target = Job(MemoryStore(), tokens), MemoryStore()
    job.write()
    calls = []
    summary = job.fit(target, progress=lambda done, total: calls.append((done, total)))
    assert summary.tokens == sum(summary.status_counts.values()) == tokens
    assert summary.complete
    assert open_fits(target).complete
    assert calls[-1] == (tokens, tokens)
    check_equal(target, in_memory(job.values(), Sigmoid(), OPTIONS))


@pytest.mark.parametrize("progress", [True, False, "bar", 1])
def test_progress_is_a_function(job, tmp_path, progress):
    with pytest.raises(TypeError, match=r"progress: got .*expected 'auto', None for no bar, or a function"):
        job.fit(tmp_path / "fits", progress=progress)
    assert not (tmp_path / "fits").exists()


def test_the_summary_tells_of_the_whole_store(job, tmp_path):
    calls = []
    summary = job.fit(tmp_path / "fits", progress=lambda done, total: calls.append((done, total)))
    status = open_fits(tmp_path / "fits").read().status
    assert summary.status_counts["TOO_FEW_POINTS"] == 2 == np.sum(status == Status.TOO_FEW_POINTS)
    assert sum(summary.status_counts.values()) == sum(summary.category_counts.values()) == 150
    assert summary.complete
    assert calls == [(0, 150), (64, 150), (128, 150), (150, 150)]
    assert 0 < summary.fit_seconds <= summary.wall_seconds
    assert summary.fits_per_second > 0
    again = job.fit(tmp_path / "fits")
    assert again.status_counts == summary.status_counts
    assert again.category_counts == summary.category_counts
    assert (again.blocks, again.blocks_run, again.tokens_run) == (3, 0, 0)
    assert again.as_dict()["fits_per_second"] is None
    assert isinstance(again, FitSummary)


def test_the_summary_counts_what_the_fits_say(job, tmp_path):
    summary = job.fit(tmp_path / "fits")
    for said in (summary, job.fit(tmp_path / "fits")):  # the second reads it from the store
        got = open_fits(tmp_path / "fits").read()
        learned = got.category == Category.LEARNED
        falls = got.params["loss_drop"] > 0
        assert said.learned_falling == np.sum(learned & falls) > 0
        assert said.learned_rising == np.sum(learned & ~falls) == 0
        assert said.second_events == np.sum(got.second_event > 0.5)
        few = (got.status == Status.CONVERGED) & (got.num_points < 12)
        assert said.noise_not_estimated == np.sum(few) > 0
        freedom = degrees_of_freedom(got.noise_correlation, got.num_points)
        least = np.isfinite(got.rss) & (np.asarray(freedom) <= 1) & (got.status != Status.FLAT)
        assert said.few_effective_points == np.sum(least)
        assert said.median_effective_points == pytest.approx(np.nanmedian(got.effective_points))
        assert 0 <= said.noise_seconds < said.wall_seconds
    hyperbola = job.fit(MemoryStore(), Hyperbola())
    assert (hyperbola.learned_falling, hyperbola.learned_rising, hyperbola.second_events) == (None, None, None)
    assert hyperbola.noise_not_estimated < summary.noise_not_estimated


def test_rising_tokens_are_counted_apart():
    number = np.full(6, 20, "int32")
    number[5] = 11
    columns = {f"{name}_stderr": np.zeros(6) for name in Sigmoid().names} | {
        "category": np.array([1, 1, 1, 2, 0, 255], "uint8"),
        "status": np.array([0, 2, 0, 0, 0, 1], "uint8"),
        "loss_drop": np.array([1, -1, np.nan, -1, -1, -1], "float32"),
        "num_points": number,
        "rss": np.array([1, 1, 0, 1, 1, 1], "float32"),
        "second_event": np.array([127, 254, 128, 255, 255, 3], "uint8"),
    }
    assert noted(columns) == {"noise_not_estimated": 2, "learned_rising": 1, "second_events": 2}


def test_probabilities_are_stored_to_the_nearest_254th():
    fitted = cheap_fit(Sigmoid(), STEPS, np.full((5, 12), 3.0, "float32"), options=OPTIONS)
    likely = np.array([0, 0.25, 0.99, 1, np.nan], "float32")
    fitted = dataclasses.replace(fitted, second_event=likely, effective_points=1e5 * likely)
    columns = fit_columns(fitted)
    assert columns["second_event"].tolist() == [0, 64, 251, 254, 255]
    assert columns["effective_points"].tolist()[:4] == [0, 24992, 65504, 65504]
    none = dataclasses.replace(fitted, category=np.full(5, Category.NONE, "uint8"))
    assert set(fit_columns(none)["learned_probability"].tolist()) == {255}


def test_coordinates_and_attributes_go_along(job, tmp_path):
    job.fit(tmp_path / "fits", axis="tokens_seen")
    fits = open_fits(tmp_path / "fits")
    np.testing.assert_array_equal(fits.read_coordinate("token_id"), np.arange(150))
    assert fits.attributes["domains"] == ["a", "b", "c"]
    assert fits.axis_name == "tokens_seen"
    with xr.open_zarr(tmp_path / "fits") as data:
        assert {"domain", "token_id", "step", "tokens_seen"} == set(data.coords)
        assert data.learning_time.dims == ("token",)


def test_a_checkpoint_at_zero_is_left_out_and_said():
    losses = np.random.default_rng(0).uniform(1, 8, (40, 13)).astype("float32")
    time = np.concatenate([[0.0], STEPS])
    source, target = MemoryStore(), MemoryStore()
    create_losses(source, losses, checkpoints={"step": time})
    summary = fit_store(source, target, Sigmoid(), options=OPTIONS)
    assert summary.left_out_checkpoints == open_fits(target).left_out_checkpoints == (0,)
    check_equal(target, in_memory(losses[:, 1:], Sigmoid(), OPTIONS))
    assert np.isfinite(mean_curves(source, target).mean_fit[1:]).all()
    linear = fit_store(source, MemoryStore(), Sigmoid(scale="linear"), options=OPTIONS)
    assert linear.left_out_checkpoints == ()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"family": "sigmoid"}, TypeError, "Family"),
        ({"on_bad_chunk": "ignore"}, ValueError, "on_bad_chunk.*'stop' or 'skip'"),
        ({"memory": 0}, ValueError, "memory"),
        ({"axis": "lr_sum"}, StoreError, "expected one of 'step'"),
    ],
)
def test_bad_arguments_raise_before_anything_is_written(job, tmp_path, arguments, error, match):
    with pytest.raises(error, match=match):
        job.fit(tmp_path / "fits", **arguments)
    assert not (tmp_path / "fits").exists()


def test_a_memory_that_is_far_too_small_raises_before_anything_is_written(tmp_path):
    source = MemoryStore()
    create_losses(source, np.ones((64, 6), "float32"), checkpoints={"step": np.arange(6) + 1}, chunk_tokens=64)
    with pytest.raises(ValueError, match="each chunk of 64 tokens would be read 64 times; give at least 1 MiB"):
        fit_store(source, tmp_path / "fits", Sigmoid(), memory=1)
    assert not (tmp_path / "fits").exists()


def test_bad_axes_raise_before_anything_is_written(tmp_path):
    source = MemoryStore()
    create_losses(source, np.ones((4, 6), "float32"), checkpoints={"step": [-1, 1, 2, 3, 4, 5]})
    with pytest.raises(ValueError, match=r"scale='linear'"):
        fit_store(source, tmp_path / "fits", Sigmoid())
    source = MemoryStore()
    create_losses(source, np.ones((4, 4), "float32"), checkpoints={"step": [0, 1, 2, 3]})
    with pytest.raises(StoreError, match="3 checkpoints can be used, expected at least 5"):
        fit_store(source, tmp_path / "fits", Sigmoid())
    assert not (tmp_path / "fits").exists()


def test_predictions_of_a_store_are_those_of_the_fit(job, tmp_path):
    job.fit(tmp_path / "fits")
    fitted = jitted_fit(Sigmoid(), tuple(STEPS), OPTIONS)(job.values(), None)
    for kind in ("counted", "curve", "constant"):
        expected = fitted.predict(np.array([3.0, 2000.0]), kind)
        got = predict_store(tmp_path / "fits", [3.0, 2000.0], slice(20, 90), kind=kind)
        np.testing.assert_allclose(got, expected[20:90], rtol=1e-4)
    assert predict_store(tmp_path / "fits").shape == (150, 12)


class Elsewhere:
    """Workers that see what can be sent to them, and give results back to front."""

    count = 2
    reduce = call = None
    dumps = staticmethod(pickle.dumps)

    def each(self, function, items, *, name, again):
        for index, item in reversed(list(enumerate(items))):
            yield index, pickle.loads(pickle.dumps(function))(again(item))


def test_workers_predict_the_bits_of_one_process(job, tmp_path, monkeypatch):
    job.fit(tmp_path / "fits")
    monkeypatch.setattr("tsl_jax.jobs.predict._PART_TOKENS", 40)
    for tokens in (slice(None), slice(20, 140), slice(5, 5)):
        here, there = (predict_store(tmp_path / "fits", None, tokens, client=one) for one in (None, Elsewhere()))
        np.testing.assert_array_equal(here, there)
        assert here.shape == (len(range(150)[tokens]), 12)


def test_mean_curves_are_the_means_over_all_tokens(job, tmp_path, monkeypatch):
    job.fit(tmp_path / "fits")
    losses = job.values().astype("float64")
    fitted = predict_store(tmp_path / "fits").astype("float64")
    pairs = np.isfinite(losses) & np.isfinite(fitted)
    monkeypatch.setattr("tsl_jax.jobs.group_sums.BLOCK_BYTES", 40 * 12 * 8)
    means = mean_curves(job.source, tmp_path / "fits")
    np.testing.assert_array_equal(means.axis, STEPS)
    np.testing.assert_array_equal(means.num_tokens, pairs.sum(0))
    np.testing.assert_allclose(means.mean_loss, np.mean(losses, axis=0, where=pairs), rtol=1e-6)
    np.testing.assert_allclose(means.mean_fit, np.mean(fitted, axis=0, where=pairs), rtol=1e-6)
    Job(tmp_path / "other", 10).write()
    with pytest.raises(StoreError, match="were made from"):
        mean_curves(tmp_path / "other", tmp_path / "fits")
