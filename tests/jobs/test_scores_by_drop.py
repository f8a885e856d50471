"""Scores that weigh an event by its drop, against planted groups and direct sums over tokens."""

import json

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from tests.planted_store import planted_columns, write_fit_store
from tsl_jax.cli import app
from tsl_jax.fitting import Category, degrees_of_freedom
from tsl_jax.jobs import score_store
from tsl_jax.reshape import EventDensity, another_run_probability, event_probability, merge_scores, score_sequences

SEQUENCES, TOKENS = 24, 10
WINDOW = (4.0, 32.0)
SMALL, LARGE = 0.5, 3.0


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def two_groups(folder, *, seed=0):
    """A store whose sequences all have 4 of 10 tokens learned within the window, by small or by large drops.

    Three more tokens of each rise within it, by more the smaller the others fall.
    """
    number = SEQUENCES * TOKENS
    sequence, at = np.divmod(np.random.default_rng(seed).permutation(number), TOKENS)
    drop = np.where(sequence % 2, LARGE, SMALL)
    rising = (at >= 4) & (at < 7)
    columns = planted_columns(number, r2=1.0, category=np.uint8(Category.LEARNED))
    columns["learning_time"] = np.where(at < 7, 10.0, 100.0).astype("float32")
    columns["loss_drop"] = np.where(rising, -9 / drop, drop).astype("float32")
    folder.mkdir(exist_ok=True)
    known = {"sequence": sequence.astype("int32"), "domain": (sequence // 12).astype("int32")}
    return write_fit_store(folder, columns, coordinates=known)


@pytest.mark.parametrize("options", [{}, {"by_domain": True}, {"shrink": True}, {"by_domain": True, "shrink": True}])
def test_groups_of_equal_counts_are_told_apart_by_their_drops(tmp_path, options):
    stores = [two_groups(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    counted = score_store(stores, WINDOW, buckets=2, strength=1.0, tested=False)
    assert counted.score == pytest.approx(0.4)
    assert "the same score" in counted.noise
    found = score_store(stores, WINDOW, buckets=2, strength=1.0, tested=False, weighting="drop", **options)
    large = found.sequence % 2 == 1
    assert found.events == pytest.approx(4.0)
    assert found.score == pytest.approx(np.where(large, 0.4 * LARGE, 0.4 * SMALL), rel=0.02)
    assert found.weight.tolist() == np.where(large, 2.0, 0.0).tolist()
    assert not found.noise
    assert found.between_runs.value > 0.99
    assert (counted.score_unit, found.score_unit) == ("1", "nat")


@pytest.mark.parametrize("tested", [True, False])
def test_scores_by_drop_are_direct_sums_in_any_blocks(tmp_path, monkeypatch, tested):
    monkeypatch.setattr("tsl_jax.jobs.scores.runs._BLOCK_TOKENS", 50)
    columns = planted_columns(SEQUENCES * TOKENS, r2=0.8)
    error = {"learning_time": (0.3 * columns["learning_time"]).astype("float32")}
    fits = write_fit_store(
        tmp_path,
        columns | {"learning_time_stderr": error["learning_time"]},
        coordinates={"sequence": np.tile(100 + 3 * np.arange(SEQUENCES), TOKENS).astype("int32")},
    )
    unlearned = np.where(columns["category"] == Category.UNLEARNED, 1.0, 0.0)
    if tested:
        learned = (columns["category"] == Category.LEARNED) & (columns["loss_drop"] > 0)
        density = EventDensity.of(columns["learning_time"][learned], len(learned))
        likely = another_run_probability(columns, error, columns["r2"], columns["status"], unlearned, WINDOW, density)
    else:
        freedom = degrees_of_freedom(
            jnp.asarray(fits.arrays["noise_correlation"][:], jnp.float32), jnp.asarray(fits.arrays["num_points"][:])
        )
        likely = event_probability(columns, error, columns["status"], 0 * unlearned, WINDOW, freedom=freedom)
    likely = np.asarray(likely, np.float64)
    assert not likely[columns["loss_drop"] < 0].any()
    found = score_store(fits, WINDOW, buckets=4, tested=tested, weighting="drop")
    want = (likely * columns["loss_drop"]).reshape(TOKENS, SEQUENCES).mean(axis=0)
    np.testing.assert_allclose(found.score, want, rtol=1e-5)
    by_count = score_store(fits, WINDOW, buckets=4, tested=tested)
    np.testing.assert_array_equal(found.events, by_count.events)


def test_the_weighting_goes_round_through_the_command(tmp_path):
    fits = two_groups(tmp_path)
    given = ("score", tmp_path / "fits.zarr", "--window", "4:32", "--buckets", 2, "--events", "all")
    done = run(*given, "--weighting", "drop", "--out", tmp_path / "w.npz", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["weighting"], said["score_unit"]) == ("drop", "nat")
    found = score_store(fits, WINDOW, buckets=2, tested=False, weighting="drop")
    with np.load(tmp_path / "w.npz") as written:
        for name, values in found.columns().items():
            assert np.array_equal(written[name], values)
        assert (written["weighting"], written["score_unit"]) == ("drop", "nat")
    done = run(*given, "--weighting", "drop", "--out", tmp_path / "w.parquet")
    assert "lowest score (nat)" in done.output
    metadata = parquet.read_table(tmp_path / "w.parquet").schema.metadata
    assert (metadata[b"weighting"], metadata[b"score_unit"]) == (b"drop", b"nat")


def test_events_count_alike_by_default(tmp_path):
    write_fit_store(
        tmp_path,
        planted_columns(SEQUENCES * TOKENS, r2=1.0),
        coordinates={"sequence": np.repeat(np.arange(SEQUENCES), TOKENS).astype("int32")},
    )
    done = run("score", tmp_path / "fits.zarr", "--window", "4:32", "--buckets", 4, "--out", tmp_path / "w.npz")
    assert done.exit_code == 0, done.output
    assert "(nat)" not in done.stdout
    with np.load(tmp_path / "w.npz") as written:
        np.testing.assert_allclose(written["score"], written["events"] / written["tokens"])
        assert (written["weighting"], written["score_unit"]) == ("count", "1")


def test_an_unknown_weighting_names_the_choices(tmp_path):
    fits = two_groups(tmp_path)
    with pytest.raises(ValueError, match="weighting: got 'size', expected 'count' or 'drop'"):
        score_store(fits, WINDOW, weighting="size")  # pyright: ignore[reportArgumentType]
    done = run("score", tmp_path / "fits.zarr", "--window", "4:32", "--weighting", "size", "--out", tmp_path / "w.npz")
    assert done.exit_code == 2
    assert "'count', 'drop'" in " ".join(done.output.replace("│", " ").split())


def test_scores_of_two_weightings_are_not_added_up():
    given = [1.0, 0.5], [True, True], [3, 4]
    counted, by_drop = score_sequences(*given), score_sequences(*given, [2.0, np.nan])
    assert np.isnan(by_drop.score).tolist() == [False, True]  # a drop that is not known is not taken for none
    with pytest.raises(ValueError, match="some scores are by drop, others by count"):
        merge_scores([counted, by_drop])


@pytest.mark.parametrize(("events", "named"), [("tested", True), ("all", False)])
def test_hardly_any_events_name_the_way_to_count_more(tmp_path, events, named):
    """One event a sequence lies in the window, but hardly one of its tokens follows the curve."""
    sequence, at = np.divmod(np.arange(SEQUENCES * TOKENS), TOKENS)
    columns = planted_columns(len(sequence), r2=0.2, loss_drop=2.0, category=np.uint8(Category.LEARNED))
    columns["learning_time"] = np.where(at < sequence % 2, 10.0, 100.0).astype("float32")
    write_fit_store(tmp_path, columns, coordinates={"sequence": sequence.astype("int32")})
    given = ("score", tmp_path / "fits.zarr", "--window", "4:32", "--out", tmp_path / "w.npz", "--json")
    done = run(*given, "--events", events)
    said = json.loads(done.stdout)
    assert said["noise"] == "the window holds hardly any events"
    (warning,) = said["warnings"]
    assert "take a wider window, or longer sequences" in warning
    assert ("--events all" in warning) == named
    assert ("--events all" in done.stderr) == named
    assert not (tmp_path / "w.npz").exists()
