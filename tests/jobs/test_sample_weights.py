"""Scores of a store's sequences against direct sums over its tokens, and the command that writes the weights."""

import json

import jax
import numpy as np
import pyarrow.parquet as parquet
import pytest
import scipy.stats
from typer.testing import CliRunner

import tsl_jax as tsl
from tests.planted_store import STEP, planted_columns, planted_losses, write_fit_store
from tsl_jax.cli import app
from tsl_jax.fitting import Category, Status
from tsl_jax.jobs import bucket_losses, score_store
from tsl_jax.jobs.scores.density import event_density
from tsl_jax.reshape import EventDensity, another_run_probability
from tsl_jax.store import StoreError

SEQUENCES, TOKENS = 24, 10
WINDOW = (4.0, 32.0)


@pytest.fixture
def columns():
    return planted_columns(SEQUENCES * TOKENS, r2=1.0)


def number_of_token():
    """Sequences whose numbers do not count from 0 and whose tokens lie apart."""
    return np.tile(100 + 3 * np.arange(SEQUENCES), TOKENS).astype("int32")


def test_scores_are_the_shares_of_tokens_learned_in_the_window(tmp_path, columns, monkeypatch):
    monkeypatch.setattr("tsl_jax.jobs.scores.runs._BLOCK_TOKENS", 50)
    fits = write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    found = score_store(fits, WINDOW, buckets=4, tested=False)
    # The planted standard errors are 0: every token counts whole or not at all.
    time = columns["learning_time"]
    inside = (WINDOW[0] < time) & (time <= WINDOW[1]) & (columns["loss_drop"] > 0)
    want = inside.reshape(TOKENS, SEQUENCES).mean(0)
    assert np.array_equal(found.sequence, 100 + 3 * np.arange(SEQUENCES))
    assert np.allclose(found.score, want)
    assert want.max() > want.min()
    assert np.isclose(found.weight.sum(), SEQUENCES)
    assert found.effective_sample_size < SEQUENCES
    order = np.argsort(found.score, kind="stable")
    assert np.all(np.diff(found.weight[order]) >= 0)


def test_losses_of_buckets_are_direct_means(tmp_path, columns, monkeypatch):
    monkeypatch.setattr("tsl_jax.jobs.scores.buckets._LOSS_BYTES", 8 * len(STEP) * 50)
    losses = planted_losses(columns)
    losses[3, 2] = np.nan
    write_fit_store(tmp_path, columns, losses=losses, coordinates={"sequence": number_of_token()})
    weights = score_store(tmp_path / "fits.zarr", WINDOW, buckets=3)
    found = bucket_losses(tmp_path / "losses.zarr", weights, window=(3.0, 40.0))
    assert found.axis.tolist() == STEP.tolist()
    bucket = np.tile(weights.bucket, TOKENS)
    stored = losses.astype("float16").astype(float)
    falls = [
        np.interp(np.log(3.0), np.log(STEP[1:]), row) - np.interp(np.log(40.0), np.log(STEP[1:]), row)
        for row in stored[:, 1:]
    ]
    falls = np.array(falls).reshape(TOKENS, SEQUENCES)
    for k in range(3):
        want = np.nanmean(stored[bucket == k], axis=0)
        assert np.allclose(found.loss[k], want, rtol=1e-6)
        # Every sequence has as many tokens, but one: the error of a mean over sequences.
        inside = falls[:, weights.bucket == k]
        assert np.allclose(found.fall[k], np.nanmean(inside), rtol=1e-6)
        means = np.nanmean(inside, axis=0)
        assert np.allclose(found.fall_stderr[k], means.std(ddof=1) / np.sqrt(len(means)), rtol=0.05)


class _Wider:
    """Errors between runs that are what is given."""

    def __init__(self, error):
        self.error = error

    def widened(self, params, stderr):
        assert set(stderr) == {"learning_time"} <= set(params)
        return {name: np.full(len(values), self.error) for name, values in stderr.items()}


def test_probabilities_are_used_as_stored(tmp_path, columns):
    """A token counts by its probability of an event, whatever its category; components replace errors."""
    columns |= {"unlearned_probability": np.full(len(columns["status"]), 127, "uint8")}
    fits = write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    time = columns["learning_time"].astype(float)
    falls = columns["loss_drop"] > 0
    inside = (WINDOW[0] < time) & (time <= WINDOW[1]) & falls
    assert score_store(fits, WINDOW, buckets=2).events.sum() == pytest.approx(inside.sum() / 2, rel=1e-4)
    law = scipy.stats.t(3, np.log(time), 5 / time)
    share = np.where(falls, law.cdf(np.log(WINDOW[1])) - law.cdf(np.log(WINDOW[0])), 0)
    found = score_store(fits, WINDOW, buckets=2, components=_Wider(5.0))
    assert found.events.sum() == pytest.approx(share.sum() / 2, rel=2e-3)
    own = score_store(fits, WINDOW, buckets=2, components=_Wider(5.0), tested=False)
    law = scipy.stats.t(9 * (1 - 0.3**2) / (1 + 0.3**2) - 4, np.log(time), 5 / time)
    share = np.where(falls, law.cdf(np.log(WINDOW[1])) - law.cdf(np.log(WINDOW[0])), 0)
    assert own.events.sum() == pytest.approx(share.sum(), rel=2e-3)


def test_what_runs_seldom_repeat_counts_less(tmp_path, columns):
    """Tokens that the curve hardly follows: by the probability that another run has their event, in any blocks."""
    rng = np.random.default_rng(3)
    columns |= {"r2": rng.uniform(0.2, 1, len(columns["status"])).astype("float32")}
    error = (0.1 * columns["learning_time"]).astype("float32")
    fits = write_fit_store(
        tmp_path, columns | {"learning_time_stderr": error}, coordinates={"sequence": number_of_token()}
    )
    learned = (columns["category"] == Category.LEARNED) & (columns["loss_drop"] > 0)
    density = EventDensity.of(columns["learning_time"][learned], len(learned))
    unlearned = (columns["category"] == Category.UNLEARNED).astype(float)
    args = columns, {"learning_time": error}, columns["r2"], columns["status"], unlearned, WINDOW, density
    want = np.asarray(another_run_probability(*args)).reshape(TOKENS, SEQUENCES).sum(axis=0)
    found = score_store(fits, WINDOW, buckets=2)
    np.testing.assert_allclose(found.events, want, rtol=1e-5)
    every = score_store(fits, WINDOW, buckets=2, tested=False)
    assert found.events.sum() < 0.85 * every.events.sum()


def test_each_token_counts_once_in_the_density_of_a_small_store(tmp_path, columns, monkeypatch):
    """Of a large store, tokens in runs spread over it."""
    fits = write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    learned = (columns["category"] == Category.LEARNED) & (columns["loss_drop"] > 0)
    tokens = len(learned)
    whole = EventDensity.of(columns["learning_time"][learned], tokens)
    for most in (tokens, tokens + 1, 2 * tokens):
        monkeypatch.setattr("tsl_jax.jobs.scores.density._SAMPLED_TOKENS", most)
        for one, other in zip(jax.tree.leaves(event_density(fits)), jax.tree.leaves(whole), strict=True):
            np.testing.assert_array_equal(one, other)
    monkeypatch.setattr("tsl_jax.jobs.scores.density._SAMPLED_TOKENS", 6)
    monkeypatch.setattr("tsl_jax.jobs.scores.density._RUN_TOKENS", 2)
    rows = np.array([first + row for first in np.linspace(0, tokens - 2, 3).astype(int) for row in range(2)])
    some = EventDensity.of(columns["learning_time"][rows][learned[rows]], len(rows))
    np.testing.assert_array_equal(event_density(fits).before, some.before)


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ((4.0, 32.0), []),
        ((0.0, 32.0), ["begins before the measured part of training (step 1 to 256)"]),
        ((4.0, 2000.0), ["ends after the measured part"]),
        ((300.0, 2000.0), ["lies outside the measured part", "hardly any events: "]),
        ((4.0, 4.3), ["hardly any events: "]),
    ],
)
def test_doubtful_windows_are_warned_of(tmp_path, columns, window, says):
    fits = write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    warnings = score_store(fits, window, buckets=4).warnings
    assert len(warnings) == len(says)
    for warning, words in zip(warnings, says, strict=True):
        assert words in warning


def test_doubts_are_said_and_written_as_json_with_exit_code_0(tmp_path, columns):
    write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    done = run("score", tmp_path / "fits.zarr", "--window", "300:2000", "--out", tmp_path / "w.npz", "--json")
    assert done.exit_code == 0
    assert [text.split(":")[0] for text in json.loads(done.stdout)["warnings"]] == [
        "The window 300 to 2000 lies outside the measured part of training (step 1 to 256)",
        "The window holds hardly any events",
    ]
    assert "lies outside the measured part" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("replaced", "coordinates", "options", "error", "says"),
    [
        ({}, {}, {}, StoreError, "neither 'sequence' nor 'position'"),
        ({"unlearned_probability": np.uint8(254)}, "sequence", {}, StoreError, "no token .* is learned"),
        ({}, "sequence", {"components": _Wider(np.nan)}, ValueError, "components: they do not know"),
        ({"status": np.uint8(Status.PENDING)}, "sequence", {}, StoreError, "not all tokens are fitted"),
        ({}, "sequence", {"window": (9.0, 9.0)}, ValueError, "window"),
        ({}, "sequence", {"buckets": 25}, ValueError, "24 sequences"),
        ({}, "sequence", {"strength": 2.0}, ValueError, "strength"),
    ],
)
def test_bad_input_is_named(tmp_path, replaced, coordinates, options, error, says):
    coordinates = {"sequence": number_of_token()} if coordinates else {}
    write_fit_store(tmp_path, planted_columns(SEQUENCES * TOKENS, **replaced), coordinates=coordinates)
    with pytest.raises(error, match=says):
        tsl.score_store(tmp_path / "fits.zarr", **({"window": WINDOW} | options))


def test_a_store_without_tokens_is_refused(tmp_path):
    write_fit_store(tmp_path, planted_columns(0), coordinates={"sequence": np.zeros(0, "int32")})
    with pytest.raises(StoreError, match="no tokens"):
        score_store(tmp_path / "fits.zarr", WINDOW)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_weights_and_a_picture(tmp_path, columns):
    write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    fits, picture = tmp_path / "fits.zarr", tmp_path / "buckets.png"
    given = ("score", fits, "--window", "4:32", "--buckets", 4, "--losses", tmp_path / "losses.zarr")
    done = run(*given, "--picture", picture, "--out", tmp_path / "w.npz", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    found = score_store(fits, WINDOW, buckets=4)
    with np.load(tmp_path / "w.npz") as arrays:
        written = dict(arrays)
    for name, values in found.columns().items():
        assert np.array_equal(written[name], values)
    assert written["window"] == "4:32"
    assert np.isclose(said["effective_sample_size"], found.effective_sample_size)
    assert len(said["fall_within_window"]) == len(said["buckets"]) == 4
    assert picture.stat().st_size > 10_000
    assert run(*given, "--out", tmp_path / "w.parquet").exit_code == 0
    table = parquet.read_table(tmp_path / "w.parquet")
    assert np.array_equal(table["weight"].to_numpy(), found.weight)
    assert table.schema.metadata[b"window"] == b"4:32"
    assert {path.name for path in tmp_path.glob("*w.*")} == {"w.npz", "w.parquet"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--window", "4", "--out", "w.npz"), 2, "A:B"),
        (("--window", "9:4", "--out", "w.npz"), 2, "A:B"),
        (("--window", "4:32", "--out", "w.txt"), 1, ".npz or .parquet"),
        (("--window", "4:32", "--out", "w.npz", "--picture", "p.png"), 2, "--losses"),
        (("--window", "4:32", "--out", "/dev/null/w.npz"), 1, "/dev/null is no folder"),
    ],
)
def test_what_cannot_be_done_says_why(tmp_path, columns, monkeypatch, arguments, code, says):
    write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    monkeypatch.chdir(tmp_path)
    done = run("score", "fits.zarr", *arguments)
    assert done.exit_code == code, done.output
    assert says in " ".join(done.output.replace("│", " ").split())
    assert not list(tmp_path.glob("w.*"))


def planted_runs(folder, sequences=40, tokens=50, spread=0.3, seeds=(0, 1)):
    """Fit stores of two runs in which a sequence's share of tokens learned inside the window is planted.

    Sequences are of domains 2 and 7; in the second all shares are larger.
    """
    rng = np.random.default_rng(5)
    domain = np.repeat([2, 7], sequences // 2)
    share = np.clip(np.where(domain == 7, 0.7, 0.3) + spread * rng.uniform(-1, 1, sequences), 0, 1)
    sequence, stores = np.repeat(np.arange(sequences), tokens), []
    for seed in seeds:
        inside = np.random.default_rng(seed).uniform(size=len(sequence)) < share[sequence]
        columns = planted_columns(len(sequence), loss_drop=2.0, category=np.uint8(Category.LEARNED))
        columns["learning_time"] = np.where(inside, 10.0, 100.0).astype("float32")
        (folder / str(seed)).mkdir()
        known = {"sequence": sequence.astype("int32"), "domain": domain[sequence].astype("int32")}
        stores.append(write_fit_store(folder / str(seed), columns, coordinates=known))
    return stores, share, domain


def test_scores_of_several_runs_are_their_mean_with_its_reliability(tmp_path):
    stores, share, _ = planted_runs(tmp_path)
    one, other = (score_store(store, WINDOW) for store in stores)
    both = score_store(stores, WINDOW)
    np.testing.assert_allclose(both.score, (one.score + other.score) / 2)
    np.testing.assert_allclose(both.events, (one.events + other.events) / 2)
    true = np.corrcoef(share, both.score)[0, 1] ** 2
    assert both.between_runs.value == pytest.approx(true, abs=0.03)
    assert both.over_tokens.value == pytest.approx(true, abs=0.05)
    assert np.isnan(one.between_runs.value)
    assert np.isfinite(one.over_tokens.value)
    assert both.noise == ""


def test_weights_by_domain_preserve_the_mixture(tmp_path):
    stores, _, domain = planted_runs(tmp_path, seeds=(0,))
    mixed, apart = (score_store(stores[0], WINDOW, ends=2, strength=1.0, by_domain=by) for by in (False, True))
    assert np.array_equal(apart.domain, domain)
    for code in (2, 7):
        assert apart.weight[domain == code].sum() == pytest.approx(20)
    assert mixed.weight[domain == 7].sum() > 25
    assert set(np.unique(apart.weight.round(6))) == {0.0, 1.0, 2.0}
    shrunk = score_store(stores[0], WINDOW, shrink=True, by_domain=True)
    for code in (2, 7):
        inside = domain == code
        assert shrunk.score[inside].mean() == pytest.approx(mixed.score[inside].mean())
        assert shrunk.score[inside].std() < mixed.score[inside].std()


def test_what_differs_between_domains_is_no_reliability_within_them(tmp_path):
    stores, _, _ = planted_runs(tmp_path, spread=0.0)
    pooled, within = (score_store(stores, WINDOW, by_domain=by) for by in (False, True))
    assert pooled.between_runs.value > 0.9
    assert within.between_runs.low < 0
    assert within.noise.startswith("scores of the runs agree no better than chance")


def test_domains_smaller_than_the_buckets_leave_some_empty(tmp_path):
    found = score_store(planted_runs(tmp_path, sequences=12, seeds=(0,))[0][0], WINDOW, by_domain=True)
    assert len(np.unique(found.bucket)) < 10
    said = run("score", tmp_path / "0" / "fits.zarr", "--window", "5:50", "--out", tmp_path / "w.npz", "--by-domain")
    assert said.exit_code == 0


def test_every_event_counts_where_none_is_tested(tmp_path, columns):
    columns |= {"unlearned_probability": np.full(len(columns["status"]), 254, "uint8")}
    fits = write_fit_store(tmp_path, columns, coordinates={"sequence": number_of_token()})
    time = columns["learning_time"]
    inside = (WINDOW[0] < time) & (time <= WINDOW[1]) & (columns["loss_drop"] > 0)
    found = score_store(fits, WINDOW, buckets=4, tested=False)
    assert np.allclose(found.score, inside.reshape(TOKENS, SEQUENCES).mean(0))


def test_scores_that_differ_by_run_alone_are_noise(tmp_path):
    """No sequence differs from another: two runs agree by chance."""
    for seed in (0, 1):
        own = np.random.default_rng(10 + seed).uniform(size=2000) < 0.4
        columns = planted_columns(2000, loss_drop=2.0, category=np.uint8(Category.LEARNED))
        columns["learning_time"] = np.where(own, 10.0, 100.0).astype("float32")
        (tmp_path / str(seed)).mkdir()
        write_fit_store(tmp_path / str(seed), columns, coordinates={"sequence": np.repeat(np.arange(40), 50)})
    given = ("score", tmp_path / "0/fits.zarr", tmp_path / "1/fits.zarr", "--window", "4:32", "--json")
    done = run(*given, "--out", tmp_path / "w.npz")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert "agree no better than chance" in said["noise"]
    assert said["written"] is None
    assert said["reliability"]["between_runs"]["low"] <= 0
    assert "No weights are written" in " ".join(done.stderr.split())
    assert not (tmp_path / "w.npz").exists()


@pytest.mark.parametrize(
    ("replaced", "window", "says"),
    [
        ({}, "300:2000", "nothing was measured within the window"),
        ({}, "4:4.3", "hardly any events"),
        ({"learning_time": 10.0, "loss_drop": 2.0, "category": np.uint8(Category.LEARNED)}, "4:32", "the same score"),
    ],
)
def test_no_weights_are_written_from_noise(tmp_path, replaced, window, says):
    write_fit_store(
        tmp_path, planted_columns(SEQUENCES * TOKENS, **replaced), coordinates={"sequence": number_of_token()}
    )
    (tmp_path / "w.npz").write_bytes(b"kept")
    done = run("score", tmp_path / "fits.zarr", "--window", window, "--out", tmp_path / "w.npz", "--json")
    assert done.exit_code == 0, done.output
    assert says in json.loads(done.stdout)["noise"]
    assert (tmp_path / "w.npz").read_bytes() == b"kept"


def test_runs_that_cannot_be_averaged_are_refused(tmp_path, columns):
    stores = []
    for name, first, rows in (("a", 0, slice(None)), ("b", 1000, slice(None)), ("c", 0, slice(0, 120))):
        (tmp_path / name).mkdir()
        part = {key: values[rows] for key, values in columns.items()}
        known = {"sequence": number_of_token()[rows] + first}
        stores.append(write_fit_store(tmp_path / name, part, coordinates=known))
    with pytest.raises(StoreError, match="no sequence in common"):
        score_store(stores[:2], WINDOW, buckets=4)
    with pytest.raises(StoreError, match=r"num_tokens is 120 where .* has 240"):
        score_store([stores[0], stores[2]], WINDOW, buckets=4)
    with pytest.raises(StoreError, match="no 'domain'"):
        score_store(stores[0], WINDOW, by_domain=True)
    with pytest.raises(StoreError, match="no fit store"):
        score_store([], WINDOW)
    one = {"sequence": np.zeros(240, "int32")}
    (tmp_path / "one").mkdir()
    with pytest.raises(ValueError, match="10 for 1 sequences"):
        score_store(write_fit_store(tmp_path / "one", columns, coordinates=one), WINDOW)


def test_the_command_changes_ends_and_domains_and_says_how_reliable(tmp_path):
    stores, _, _ = planted_runs(tmp_path)
    folders = [tmp_path / str(seed) / "fits.zarr" for seed in (0, 1)]
    given = ("score", *folders, "--window", "4:32", "--out", tmp_path / "w.npz", "--change", "ends")
    done = run(*given, "--ends", 3, "--strength", 0.8, "--by-domain", "--shrink", "--events", "all")
    assert done.exit_code == 0, done.output
    assert "from halves of their tokens: 0." in done.output
    assert "from runs: 0." in done.output
    found = score_store(stores, WINDOW, ends=3, strength=0.8, by_domain=True, shrink=True, tested=False)
    with np.load(tmp_path / "w.npz") as written:
        for name, values in found.columns().items():
            assert np.array_equal(written[name], values)
        assert written["change"] == "ends 3"
        assert written["counted"] == "all"
    assert run(*given, "--ends", 6).exit_code == 2
