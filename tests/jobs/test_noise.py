"""The noise that all tokens share: estimated once, from a sample that no layout changes, recorded, and taken again."""

import dataclasses
import json

import numpy as np
import pytest
import zarr
from small_job import STEPS, Job, cheap_noise_model
from zarr.storage import MemoryStore

import tsl_jax.jobs.fit.noise
from tsl_jax.curves import Hyperbola, Sigmoid
from tsl_jax.fitting import FitOptions, NoiseModel, noise_model
from tsl_jax.jobs import fit_store, noise_of_fits
from tsl_jax.jobs.fit.noise import LEAST_TOKENS, MOST_LOSSES, MOST_TOKENS, sampled_tokens
from tsl_jax.store import ChangedError, ChunkError, StoreError, create_losses, open_fits

OPTIONS = FitOptions(block_size=32, max_steps=8)


@pytest.fixture
def estimates(monkeypatch, cheap_engine):
    """The losses that were estimated from, a call each."""
    calls = []

    def counted(family, time, losses, weights, *, options, fitted):
        calls.append(np.array(losses))
        return cheap_noise_model(family, time, losses, weights, options=options)

    monkeypatch.setattr(tsl_jax.jobs.fit.noise, "model_of_sample", counted)
    return calls


def given_model(level=0.25):
    return NoiseModel(
        STEPS,
        np.ones(12),
        np.full(11, level),
        **dict.fromkeys(("lag_mean", "lag_variance", "growth_mean", "growth_variance"), np.asarray(level)),
    )


@pytest.mark.parametrize("num_checkpoints", [5, 100, 2000, 10**5])
@pytest.mark.parametrize("num_tokens", [1, 31, MOST_TOKENS, MOST_TOKENS + 1, 5000, 10**9])
def test_the_sample_is_bounded_spread_and_of_each_token_once(num_tokens, num_checkpoints):
    parts = sampled_tokens(num_tokens, num_checkpoints)
    rows = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    assert len(rows) <= MOST_TOKENS
    assert len(rows) * num_checkpoints <= max(MOST_LOSSES, LEAST_TOKENS * num_checkpoints)
    assert len(np.unique(rows)) == len(rows)
    assert rows[0] == 0
    assert rows[-1] == num_tokens - 1
    assert len(rows) >= min(num_tokens, LEAST_TOKENS)


def test_it_is_estimated_once_and_recorded_to_the_last_bit(job, tmp_path, estimates, tree, kill_at):
    summary = job.fit(tmp_path / "whole")
    [sample] = estimates
    expected = cheap_noise_model(Sigmoid(), STEPS, job.values(), options=OPTIONS)
    np.testing.assert_array_equal(sample, job.values())
    fits = open_fits(tmp_path / "whole")
    assert fits.noise == expected.as_dict() == json.loads(json.dumps(expected.as_dict()))
    assert fits.attributes["noise_source"] == summary.noise_source == "estimated"
    assert summary.noise_correlation == expected.lag_mean
    np.testing.assert_array_equal(noise_of_fits(tmp_path / "whole").correlation, expected.correlation)

    kill_at(tmp_path / "killed", 60)
    with pytest.raises(kill_at.error):
        job.fit(tmp_path / "killed")
    kill_at(tmp_path / "killed", 0)
    assert len(estimates) == 2
    job.fit(tmp_path / "killed", memory=10**9)
    assert job.fit(tmp_path / "killed").blocks_run == 0
    assert len(estimates) == 2
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


def test_neither_layout_nor_memory_changes_the_sample(estimates):
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 9, (5000, 12)).astype("float16")
    for rows, memory in ((16, 10**5), (1000, 10**9), (4999, 10**6)):
        source = MemoryStore()
        create_losses(source, values, checkpoints={"step": STEPS}, chunk_tokens=rows, shard_tokens=rows)
        fit_store(source, MemoryStore(), Sigmoid(), options=OPTIONS, memory=memory)
    assert len(estimates) == 3
    assert len(estimates[0]) == MOST_TOKENS
    for sample in estimates[1:]:
        np.testing.assert_array_equal(sample, estimates[0])


def test_a_given_model_is_taken_and_another_refused(job, tmp_path, estimates):
    job.fit(tmp_path / "fits", noise=given_model())
    assert open_fits(tmp_path / "fits").attributes["noise_source"] == "given"
    assert job.fit(tmp_path / "fits", noise=given_model()).blocks_run == 0
    for other, words in [
        (given_model(0.5), "noise: was a model that was given .correlation 0.25., now a model that was given .*0.5"),
        ("estimate", "noise: was a model that was given .*, now a model estimated from these losses"),
        (None, "noise: was a model that was given .*, now each curve's own residuals alone"),
    ]:
        with pytest.raises(ChangedError, match=words) as raised:
            job.fit(tmp_path / "fits", noise=other)
        assert len(raised.value.differences) == 1
    assert not estimates
    with pytest.raises(ChangedError, match=r"options.noise: was 'correlated', now 'independent'") as raised:
        job.fit(tmp_path / "fits", options=dataclasses.replace(OPTIONS, noise="independent"))
    assert len(raised.value.differences) == 1
    assert job.fit(tmp_path / "fits", overwrite=True).noise_source == "estimated"
    assert len(estimates) == 1
    recorded = noise_of_fits(tmp_path / "fits")
    assert job.fit(tmp_path / "fits", noise=recorded).blocks_run == 0  # what it records is not another


def test_a_store_without_a_model_says_why(job, tmp_path, estimates):
    assert job.fit(tmp_path / "alone", noise=None).noise_source == "alone"
    with pytest.raises(ChangedError, match="noise: was each curve's own residuals alone, now a model estimated"):
        job.fit(tmp_path / "alone")
    independent = job.fit(tmp_path / "independent", options=dataclasses.replace(OPTIONS, noise="independent"))
    assert (independent.noise_source, independent.noise_not_estimated) == ("independent", 0)
    assert not estimates
    with pytest.raises(StoreError, match=r"records no noise model \(its noise: alone\)"):
        noise_of_fits(tmp_path / "alone")


def test_few_tokens_leave_each_to_itself_and_resumed_runs_do_not_try_again(tmp_path, estimates):
    job = Job(tmp_path / "losses.zarr", 31)
    job.write()
    summary = job.fit(tmp_path / "fits")
    assert (summary.noise_source, summary.noise_correlation) == ("too few curves", None)
    assert open_fits(tmp_path / "fits").noise is None
    assert job.fit(tmp_path / "fits").tokens_run == 0
    assert not estimates


def test_a_flat_store_has_no_model(tmp_path):
    create_losses(tmp_path / "losses", np.full((200, 12), 2.5, "float16"), checkpoints={"step": STEPS})
    summary = fit_store(tmp_path / "losses", tmp_path / "fits", Sigmoid(), options=OPTIONS)
    assert (summary.noise_source, summary.status_counts["FLAT"]) == ("too few curves", 200)
    assert summary.median_effective_points is None


def test_bad_chunks_of_the_sample_are_skipped_where_tokens_are(tmp_path, estimates):
    job = Job(tmp_path / "losses.zarr", coordinates=False)
    job.write(chunk_tokens=16, shard_tokens=16)
    chunk = tmp_path / "losses.zarr/losses/c/5/0"
    data = bytearray(chunk.read_bytes())
    data[40] ^= 0xFF
    chunk.write_bytes(bytes(data))
    with pytest.raises(ChunkError, match="tokens 80 to 95"):
        job.fit(tmp_path / "fits")
    assert not estimates
    job.fit(tmp_path / "fits", on_bad_chunk="skip")
    expected = np.array(job.values())
    expected[80:96] = np.nan
    np.testing.assert_array_equal(estimates[0], expected)


@pytest.mark.usefixtures("cheap_engine")
@pytest.mark.parametrize(
    ("noise", "options", "error", "match"),
    [
        ("all", {}, ValueError, "noise: got 'all', expected 'estimate', a tsl_jax.NoiseModel or None"),
        (0.5, {}, TypeError, "noise: got float"),
        (given_model(), {"noise": "independent"}, ValueError, "a model was given with"),
        (dataclasses.replace(given_model(), time=STEPS + 1), {}, ValueError, "for 12 other checkpoints"),
    ],
)
def test_bad_models_raise_before_anything_is_written(job, tmp_path, noise, options, error, match):
    with pytest.raises(error, match=match):
        job.fit(tmp_path / "fits", noise=noise, options=dataclasses.replace(OPTIONS, **options))
    assert not (tmp_path / "fits").exists()


def test_the_estimate_is_that_of_noise_model(job, tmp_path):
    """With the real engine: the sample of a small store is all of it."""
    job.fit(tmp_path / "fits", Hyperbola())
    options = FitOptions(**open_fits(tmp_path / "fits").options)
    model = noise_model(Hyperbola(), STEPS, job.values(), options=options)
    assert open_fits(tmp_path / "fits").noise == model.as_dict()


@pytest.mark.usefixtures("cheap_engine")
@pytest.mark.parametrize("old", [1, 3])
def test_old_fit_stores_are_refused_with_the_cure(job, tmp_path, old):
    job.fit(tmp_path / "fits", Hyperbola())
    zarr.open_group(tmp_path / "fits", mode="r+").attrs["tsl_version"] = old
    with pytest.raises(
        StoreError, match=rf"tsl_version: got {old}; expected 4.*Fit again with overwrite=True: earlier"
    ) as raised:
        open_fits(tmp_path / "fits")
    assert len(raised.value.violations) == 1
    with pytest.raises(ChangedError, match=f"tsl_version: was {old}, now 4"):
        job.fit(tmp_path / "fits", Hyperbola())
    assert job.fit(tmp_path / "fits", Hyperbola(), overwrite=True).complete
