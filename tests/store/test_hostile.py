"""Stores that claim any size, or names that a terminal obeys: a refusal before memory is asked for, in plain text."""

import json

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from tsl_jax.store import InvalidStoreError, StoreError, create_losses, open_losses, rechunk, validate
from tsl_jax.terminal_text import printable

ESCAPES = "\x1b]0;title\x07\x1b[31mred\x1b[2J\x9b1m\u202eback\r"


def claiming(tokens, checkpoints, chunks, **attributes):
    """A store of no bytes of losses."""
    group = zarr.create_group(MemoryStore(), attributes={"tsl_kind": "losses", "tsl_version": 1, **attributes})
    how = {"dtype": "float16", "fill_value": np.nan, "dimension_names": ("token", "checkpoint")}
    group.create_array("losses", shape=(tokens, checkpoints), chunks=chunks, **how)
    step = {"dtype": "int64", "chunks": (min(checkpoints, 10**6),), "dimension_names": ("checkpoint",)}
    array = group.create_array("step", shape=(checkpoints,), **step)
    if checkpoints < 100:
        array[:] = np.arange(checkpoints)
    return group


@pytest.mark.parametrize(
    ("claim", "variable"),
    [
        ((10**15, 10, (1000, 10)), "TSL_MAX_TOKENS"),
        ((10, 10**12, (1, 1000)), "TSL_MAX_CHECKPOINTS"),
        ((10**15, 10**9, (1, 1000)), "TSL_MAX_CHECKPOINTS"),
        ((10**10, 10, (10**10, 10)), "TSL_MAX_CHUNK_BYTES"),
    ],
)
def test_sizes_beyond_reason_are_refused_and_the_limit_can_be_raised(claim, variable, monkeypatch):
    group = claiming(*claim)
    for act in (open_losses, lambda store: rechunk(store, MemoryStore())):
        with pytest.raises(InvalidStoreError, match=rf"at most \d+.*set the environment variable {variable} to \d+"):
            act(group)
    assert {found.level for found in validate(group)} == {"error"}
    monkeypatch.setenv(variable, "x")
    with pytest.raises(StoreError, match=f"{variable}: got 'x', expected a whole number"):
        open_losses(group)


def test_a_raised_limit_holds(monkeypatch):
    group = claiming(10**13, 4, (1000, 4))
    monkeypatch.setenv("TSL_MAX_TOKENS", str(10**13))
    assert open_losses(group).num_tokens == 10**13


def test_a_store_that_holds_nothing_of_what_it_claims_is_told_at_once():
    group = claiming(10**12, 4, (1000, 4))
    (found,) = [found for found in validate(group) if found.level == "error"]
    assert "at least 10,000 chunks are not stored" in found.what


def test_names_and_titles_are_shown_and_not_obeyed():
    group = claiming(10, 4, (10, 4), title=ESCAPES)
    group.create_array(f"x{ESCAPES}", data=np.arange(3), dimension_names=("token",))
    with pytest.raises(StoreError) as raised:
        open_losses(group)
    assert r"x\x1b]0;title\x07\x1b[31mred" in str(raised.value)
    assert all(character.isprintable() or character == "\n" for character in str(raised.value))
    assert printable(ESCAPES) == r"\x1b]0;title\x07\x1b[31mred\x1b[2J\x9b1m\u202eback\r"
    assert printable("nat², 損失, é\n") == "nat², 損失, é\n"


@pytest.mark.parametrize("command", ["info", "validate"])
def test_commands_obey_no_store(command, tmp_path, capsys):
    from tsl_jax.cli import app

    store = tmp_path / "losses"
    attributes = {"title": ESCAPES, "domains": [ESCAPES, "$\\frac$"]}
    create_losses(store, np.ones((4, 3), "f4"), checkpoints={"step": [1, 2, 3]}, attributes=attributes)
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.create_array(f"x{ESCAPES}", data=np.arange(4), dimension_names=("token",))
    app([command, str(store), "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert all(character.isprintable() or character == "\n" for character in text), text
    assert r"\x1b[31mred" in err
    if command == "info":
        assert json.loads(out)["title"] == ESCAPES


def test_format_3_is_written_whatever_the_configuration(tmp_path):
    with zarr.config.set({"default_zarr_format": 2}):
        create_losses(tmp_path / "a", np.ones((4, 3), "f4"), checkpoints={"step": [1, 2, 3]})
        rechunk(tmp_path / "a", tmp_path / "b")
    assert validate(tmp_path / "a") == validate(tmp_path / "b") == []
