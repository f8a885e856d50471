"""The best of many runs at each budget, and the refusal of runs that measured other tokens."""

import json

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from tsl_jax.cli import app
from tsl_jax.collection import frontier
from tsl_jax.store import StoreError, create_losses, open_losses, validate

TOKENS = 30


def write(path, budget, offset, seed=0, axis="data_budget", steps=3, tokens=None, **changes):
    """A run: losses that fall to random ones around ``offset``."""
    rng = np.random.default_rng(seed)
    losses = offset + np.linspace(2, 0, steps) + rng.uniform(0, 0.1, (TOKENS, 1))
    losses = changes.get("losses", lambda values: values)(losses.astype("float32"))
    columns = {"token_id": np.arange(len(losses)) * 7 % 11, "position": np.arange(len(losses)) % 10}
    columns["token_frequency"] = np.arange(len(losses))
    attributes = {"domains": ["a", "b"], "seed": seed, "optimizer": "adam"} | changes.get("attributes", {axis: budget})
    step = 10 * np.arange(1, steps + 1) * (1 + seed)
    kept = columns if tokens is None else tokens(columns)
    return create_losses(path, losses, checkpoints={"step": step}, tokens=kept, attributes=attributes, chunk_tokens=4)


@pytest.fixture
def runs(tmp_path):
    """Two rivals at 100, one at 10, three at 1000, of which one diverged; and the names of the best."""
    made = {
        "a": (100, 4.0, 1),
        "b": (100, 3.5, 2),
        "c": (10, 5.0, 3),
        "d": (1000, 3.4, 4),
        "e": (1000, 3.0, 5),
    }
    for name, (budget, offset, seed) in made.items():
        write(tmp_path / name, budget, offset, seed, steps=2 + seed)
    write(tmp_path / "f", 1000, 0.0, 6, losses=lambda values: values * np.nan)
    return [tmp_path / name for name in "abcdef"]


def test_the_best_run_of_each_budget(runs, tmp_path):
    store = frontier(runs, tmp_path / "best")
    by_hand = [open_losses(tmp_path / name).read()[:, -1] for name in "cbe"]
    np.testing.assert_array_equal(store.read(), np.stack(by_hand, axis=1))
    assert store.axes[0] == "data_budget"
    assert store.axis("data_budget").tolist() == [10, 100, 1000]
    np.testing.assert_allclose(store.checkpoint_coordinates["mean_loss"], np.mean(by_hand, axis=1), rtol=1e-6)
    assert store.checkpoint_coordinates["last_step"].tolist() == [200, 120, 420]
    assert [name[-1] for name in store.attributes["runs"]] == ["c", "b", "e"]
    assert store.attributes["optimizer"] == "adam"
    assert "seed" not in store.attributes, "what differs between the runs is not said of all"
    assert set(store.token_coordinates) == {"token_id", "position", "token_frequency"}
    assert validate(tmp_path / "best") == []


def test_the_axis_of_the_model(tmp_path):
    made = [write(tmp_path / f"{m}", m, 9 / m, axis="flops_per_token") for m in (3e6, 1e6, 2e6)]
    store = frontier(made, tmp_path / "best", axis="flops_per_token")
    assert store.axis("flops_per_token").tolist() == [1e6, 2e6, 3e6]


def test_rivals_are_compared_on_what_both_measured(tmp_path):
    """The worse run lacks the hard tokens, so its own mean is the lower one."""
    hard = np.arange(TOKENS) < 10
    rival = {"losses": lambda values: np.where(hard[:, None], values + 5, values)}
    lacks = {"losses": lambda values: np.where(hard[:, None], np.nan, values)}
    runs = [write(tmp_path / "full", 10, 3.0, 1, **rival), write(tmp_path / "lacks", 10, 3.2, 2, **lacks)]
    store = frontier(runs, tmp_path / "best")
    assert store.attributes["runs"][0].endswith("full")
    expected = runs[0].read()[~hard, -1].mean()
    np.testing.assert_allclose(store.checkpoint_coordinates["mean_loss"], [expected], rtol=1e-6)


def test_small_blocks_give_the_same(runs, tmp_path, monkeypatch):
    import importlib

    whole = frontier(runs, tmp_path / "whole").read()
    monkeypatch.setattr(importlib.import_module("tsl_jax.collection.budgets"), "_BLOCK_BYTES", 200)
    np.testing.assert_array_equal(frontier(runs, tmp_path / "parts").read(), whole)


def swapped(columns):
    ids = columns["token_id"].copy()
    ids[17] = 10
    return columns | {"token_id": ids}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokens": swapped}, r"odd.*: token 17 has token_id 10, expected 9"),
        (
            {"tokens": lambda columns: columns | {"position": columns["position"] + 1}},
            "token 0 has position 1, expected 0",
        ),
        ({"losses": lambda values: np.concatenate([values, values])}, "odd: 60 tokens, expected 30"),
        ({"tokens": lambda columns: {"position": columns["position"]}}, "odd: its tokens have no 'token_id'"),
        ({"attributes": {}}, "odd: attribute 'data_budget' is None, expected a positive number"),
        ({"attributes": {"data_budget": -1}}, "odd: attribute 'data_budget' is -1"),
        ({"attributes": {"data_budget": "1e9"}}, "odd: attribute 'data_budget' is '1e9'"),
        ({"losses": lambda values: values * np.nan}, "none at 7 has a finite loss"),
    ],
)
def test_runs_that_are_refused_are_named(runs, tmp_path, changes, words):
    write(tmp_path / "odd", 7, 3.0, **changes)
    with pytest.raises(StoreError, match=words):
        frontier([*runs, tmp_path / "odd"], tmp_path / "best")
    assert not (tmp_path / "best").exists()


def test_every_run_of_other_tokens_is_listed(runs, tmp_path):
    for name in ("odd", "even"):
        write(tmp_path / name, 7, 3.0, tokens=swapped)
    with pytest.raises(StoreError) as raised:
        frontier([*runs, tmp_path / "odd", tmp_path / "even"], tmp_path / "best")
    assert "odd: token 17" in str(raised.value)
    assert "even: token 17" in str(raised.value)


def test_rivals_without_a_common_token(tmp_path):
    first = np.arange(TOKENS)[:, None] < 15
    for name, part in (("x", first), ("y", ~first)):
        write(tmp_path / name, 7, 3.0, losses=lambda values, part=part: np.where(part, values, np.nan))
    with pytest.raises(StoreError, match=r"no token has a loss in all runs at 7 \(.*x, .*y\)"):
        frontier([tmp_path / "x", tmp_path / "y"], tmp_path / "best")


def test_what_is_there_is_not_lost(runs, tmp_path):
    frontier(runs[:3], tmp_path / "best")
    with pytest.raises(StoreError, match="holds tsl_kind='losses' already"):
        frontier(runs, tmp_path / "best")
    assert frontier(runs, tmp_path / "best", overwrite=True).num_checkpoints == 3
    with pytest.raises(StoreError, match="the output is one of the runs"):
        frontier(runs, runs[0], overwrite=True)
    for wrong, words in (([], "runs: got none"), ([zarr.storage.MemoryStore()], "no Zarr group")):
        with pytest.raises(StoreError, match=words):
            frontier(wrong, tmp_path / "other")
    with pytest.raises(StoreError, match="axis: got 'D', expected one of 'data_budget'"):
        frontier(runs, tmp_path / "other", axis="D")


def test_the_command(runs, tmp_path):
    words = ["collect", "frontier", *map(str, runs), "--out", str(tmp_path / "best")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert [row["run"][-1] for row in said["best"]] == ["c", "b", "e"]
    assert "the best of 6 runs at 3 budgets" in done.stderr
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert "already" in refused.stderr
    assert CliRunner().invoke(app, [*words, "--overwrite"]).exit_code == 0
