"""Rewritten in other chunks, a loss store holds what it held; what is unfinished opens as nothing."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kills import Killed, tree
from tsl_jax.store import (
    ChunkError,
    LockedError,
    StoreError,
    UnfinishedLosses,
    create_losses,
    open_losses,
    rechunk,
    validate,
)
from tsl_jax.store.local_files import WholeFiles
from tsl_jax.store.rechunking import rechunk_or_find

LAYOUT = {"chunk_tokens": 2, "shard_tokens": 4}


def columns_store(store, losses, chunk=(4, 1), fill=np.nan):
    """A loss store whose chunks are columns, as nothing in the package writes them."""
    group = zarr.create_group(store, attributes={"tsl_kind": "losses", "tsl_version": 1, "domains": ["a", "b"]})
    dims = ("token", "checkpoint")
    layout = {"chunks": chunk, "fill_value": fill, "config": {"write_empty_chunks": True}}
    group.create_array("losses", shape=losses.shape, dtype=losses.dtype, dimension_names=dims, **layout)[:] = losses
    step = np.cumsum(np.arange(1, losses.shape[1] + 1))
    group.create_array("step", data=step, dimension_names=("checkpoint",))
    whole = {"dimension_names": ("token",), "config": {"write_empty_chunks": True}}
    domain = group.create_array("domain", data=np.arange(len(losses)) % 2, chunks=(3,), **whole)
    domain.attrs["names"] = "domains"
    return open_losses(store)


@settings(max_examples=25, deadline=None)
@given(
    tokens=st.integers(1, 40),
    checkpoints=st.integers(1, 9),
    chunk=st.tuples(st.integers(1, 50), st.integers(1, 10)),
    rows=st.tuples(st.integers(1, 7), st.integers(1, 5)),
    memory=st.integers(1, 400),
)
def test_any_chunks_become_trajectories(tokens, checkpoints, chunk, rows, memory):
    losses = np.random.default_rng(tokens).normal(size=(tokens, checkpoints)).astype("float32")
    losses[0, 0] = np.nan
    source = columns_store(zarr.storage.MemoryStore(), losses, chunk)
    done = []
    found = rechunk(
        *(source, zarr.storage.MemoryStore()),
        chunk_tokens=rows[0],
        shard_tokens=rows[0] * rows[1],
        memory=2 * memory,
        progress=lambda now, total: done.append((now, total)),
    )
    np.testing.assert_array_equal(found.read(), losses)
    np.testing.assert_array_equal(found.read_coordinate("domain"), np.arange(tokens) % 2)
    np.testing.assert_array_equal(found.axis("step"), source.axis("step"))
    assert found.losses.chunks == (rows[0], checkpoints)
    assert found.attributes["domains"] == ["a", "b"]
    assert found.token_coordinates["domain"].attrs["names"] == "domains"
    assert done[-1] == (tokens, tokens)
    assert len(done) == -(-tokens // (max(1, memory // (4 * checkpoints) // (rows[0] * rows[1])) * rows[0] * rows[1]))


def test_memory_is_bounded_by_blocks(monkeypatch):
    """What is read at a time never exceeds the budget, whatever the store's size."""
    losses = np.ones((4000, 6), "float32")
    source = columns_store(zarr.storage.MemoryStore(), losses, (500, 1))
    read, real = [], zarr.Array.__getitem__

    def counted(self, selection):
        values = real(self, selection)
        read.append(np.size(values))
        return values

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    rechunk(source, zarr.storage.MemoryStore(), chunk_tokens=10, shard_tokens=100, memory=2 * 100 * 6 * 4)
    assert max(read) == 100


def test_what_is_there_is_refused_and_what_is_unfinished_is_replaced(tmp_path, monkeypatch):
    losses = np.arange(60, dtype="float32").reshape(20, 3)
    source = columns_store(tmp_path / "source", losses)
    with monkeypatch.context() as patch:
        patch.setattr("tsl_jax.store.rewriting.UnfinishedLosses.finish", lambda self, tidy: None)
        rechunk(source, tmp_path / "target", chunk_tokens=4)
    with pytest.raises(StoreError, match="got 'unfinished losses'"):
        open_losses(tmp_path / "target")
    rechunk(tmp_path / "source", tmp_path / "target", dtype="float16")
    np.testing.assert_array_equal(open_losses(tmp_path / "target").read(), losses.astype("float16"))
    assert validate(tmp_path / "target") == []
    with pytest.raises(StoreError, match="holds tsl_kind='losses' already"):
        rechunk(source, tmp_path / "target")
    with pytest.raises(StoreError, match="holds tsl_kind='losses' already"):
        rechunk(source, tmp_path / "source")


def test_a_bad_chunk_is_named(tmp_path):
    source = columns_store(tmp_path / "source", np.ones((20, 3), "float32"), (20, 1))
    (tmp_path / "source" / "losses" / "c" / "0" / "1").write_bytes(b"broken")
    with pytest.raises(ChunkError, match="losses/c/0/1, tokens 0 to"):
        rechunk(source, tmp_path / "target")


def test_a_lost_chunk_does_not_pass_for_losses(tmp_path):
    source = columns_store(tmp_path / "source", np.ones((20, 3), "float32"), (20, 1), fill=0.0)
    (tmp_path / "source" / "losses" / "c" / "0" / "1").unlink()
    with pytest.raises(ChunkError, match="not stored"):
        rechunk(source, tmp_path / "target")


def test_whole_trajectories_are_copied_as_they_are():
    memory = zarr.storage.MemoryStore()
    losses = np.random.default_rng(0).normal(size=(30, 4))
    source = create_losses(memory, losses, checkpoints={"step": [1, 2, 3, 4]}, chunk_tokens=7)
    np.testing.assert_array_equal(rechunk(source, zarr.storage.MemoryStore(), chunk_tokens=3).read(), losses)


def killed_after(blocks):
    """A progress function that ends the run."""
    calls = []

    def progress(done, total):
        calls.append(done)
        if len(calls) == blocks:
            raise Killed

    return progress


LAYOUT = {"chunk_tokens": 2, "shard_tokens": 4, "memory": 2 * 4 * 3 * 4}  # blocks of one shard


@pytest.fixture
def source(tmp_path):
    losses = np.random.default_rng(1).normal(size=(30, 3)).astype("float32")
    losses[3, 1] = np.nan
    return columns_store(tmp_path / "source", losses)


@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_a_killed_run_goes_on_and_ends_the_same(source, tmp_path, blocks, monkeypatch):
    rechunk(source, tmp_path / "whole", **LAYOUT)
    with pytest.raises(Killed):
        rechunk(source, tmp_path / "target", **LAYOUT, progress=killed_after(blocks))
    with pytest.raises(StoreError, match="unfinished losses"):
        open_losses(tmp_path / "target")
    written, done = [], []
    write = UnfinishedLosses.write
    monkeypatch.setattr(
        UnfinishedLosses, "write", lambda self, start, *rest: written.append(start) or write(self, start, *rest)
    )
    rechunk(source, tmp_path / "target", **LAYOUT, progress=lambda now, _: done.append(now))
    first = min(4 * blocks, 30)
    assert written == list(range(first, 30, 4))
    assert done == list(dict.fromkeys([first, *(min(start + 4, 30) for start in written)]))
    assert tree(tmp_path / "target") == tree(tmp_path / "whole")
    assert validate(tmp_path / "target") == []


@pytest.mark.parametrize("what", ["losses", "steps", "layout", "dtype", "damage"])
def test_a_killed_run_on_something_else_begins_anew(source, tmp_path, what):
    with pytest.raises(Killed):
        rechunk(source, tmp_path / "target", **LAYOUT, progress=killed_after(3))
    layout = dict(LAYOUT)
    group = zarr.open_group(tmp_path / "source", mode="r+")
    if what == "losses":
        group["losses"][11, 2] = 99.0  # the last that was written
    elif what == "steps":
        group["step"][:] = [1, 2, 3]
    elif what == "layout":
        layout |= {"shard_tokens": 6}
    elif what == "dtype":
        layout |= {"dtype": "float64"}
    else:
        (tmp_path / "target/losses/c/2/0").write_bytes(b"broken")
    rechunk(tmp_path / "source", tmp_path / "target", **layout)
    rechunk(tmp_path / "source", tmp_path / "whole", **layout)
    assert tree(tmp_path / "target") == tree(tmp_path / "whole")


def test_two_runs_on_one_target_are_refused(source, tmp_path):
    def second(done, total):
        with pytest.raises(LockedError):
            rechunk(source, tmp_path / "target", **LAYOUT)

    rechunk(source, tmp_path / "target", **LAYOUT, progress=second)


def test_what_is_no_loss_store_is_for_import(tmp_path):
    np.save(tmp_path / "a1.npy", np.ones(3))
    with pytest.raises(StoreError, match=r"is no loss or fit store.* tsl import \S+ \S+\.zarr"):
        rechunk(tmp_path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_run_again_it_writes_nothing(tmp_path, monkeypatch):
    source = columns_store(tmp_path / "source", np.arange(60, dtype="float32").reshape(20, 3), (4, 1))
    rechunk(source, tmp_path / "made", **LAYOUT)
    before = tree(tmp_path / "made")
    monkeypatch.setattr(WholeFiles, "set", None)  # as of a folder that is read only
    made, written = rechunk_or_find(source, tmp_path / "made", dtype=None, rows=(2, 4))
    assert not written
    np.testing.assert_array_equal(made.read(), source.read())
    assert tree(tmp_path / "made") == before


@pytest.mark.parametrize("name", ["losses", "domain"])
def test_a_store_of_other_losses_is_not_taken_for_done(name, tmp_path):
    source = columns_store(tmp_path / "source", np.arange(60, dtype="float32").reshape(20, 3), (4, 1))
    rechunk(source, tmp_path / "made", **LAYOUT)
    array = zarr.open_group(tmp_path / "source", mode="r+")[name]
    array[9:11] = array[9:11][::-1].copy()
    with pytest.raises(StoreError, match="already; delete it or give another place"):
        rechunk(open_losses(tmp_path / "source"), tmp_path / "made", **LAYOUT)


def test_a_kill_at_any_change_is_mended_by_the_next_run(tmp_path, kill_at):
    source = columns_store(tmp_path / "source", np.arange(60, dtype="float32").reshape(20, 3), (4, 1))
    count = kill_at(tmp_path / "whole", 0)
    rechunk(source, tmp_path / "whole", **LAYOUT)
    whole, changes = tree(tmp_path / "whole"), count()
    assert changes > 15
    for k in range(1, changes + 1):
        kill_at(tmp_path / f"made{k}", k)
        with pytest.raises(Killed):
            rechunk(source, tmp_path / f"made{k}", **LAYOUT)
        kill_at(tmp_path / "nowhere", 0)
        rechunk(source, tmp_path / f"made{k}", **LAYOUT)
        assert tree(tmp_path / f"made{k}") == whole, k


def test_half_an_array_that_a_kill_left_is_replaced_and_a_users_folder_is_not(source, tmp_path):
    rechunk(source, tmp_path / "whole", **LAYOUT)
    with pytest.raises(Killed):
        rechunk(source, tmp_path / "target", **LAYOUT, progress=killed_after(2))
    (tmp_path / "target/losses/zarr.json").unlink()  # folders are removed file by file
    (tmp_path / "target/mine").mkdir()
    (tmp_path / "target/mine/notes.txt").write_text("precious")
    with pytest.raises(StoreError, match=r"holds other files \(mine/notes.txt\), which are kept"):
        rechunk(source, tmp_path / "target", **LAYOUT)
    (tmp_path / "target/mine/notes.txt").rename(tmp_path / "notes.txt")
    rechunk(source, tmp_path / "target", **LAYOUT)
    assert tree(tmp_path / "target") == tree(tmp_path / "whole")
