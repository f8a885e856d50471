"""Rewritten in other chunks, a loss store holds what it held; what is unfinished opens as nothing."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl_jax.store import ChunkError, StoreError, create_losses, open_losses, rechunk, validate


def columns_store(store, losses, chunk=(4, 1), fill=np.nan):
    """A loss store whose chunks are columns, as nothing in the package writes them."""
    group = zarr.create_group(store, attributes={"tsl_kind": "losses", "tsl_version": 1, "domains": ["a", "b"]})
    dims = ("token", "checkpoint")
    group.create_array(
        "losses", shape=losses.shape, dtype=losses.dtype, chunks=chunk, fill_value=fill, dimension_names=dims
    )[:] = losses
    step = np.cumsum(np.arange(1, losses.shape[1] + 1))
    group.create_array("step", data=step, dimension_names=("checkpoint",))
    domain = group.create_array("domain", data=np.arange(len(losses)) % 2, chunks=(3,), dimension_names=("token",))
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
        patch.setattr("tsl_jax.store.rechunking.UnfinishedLosses.finish", lambda self: None)
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
    with pytest.raises(ChunkError, match="checkpoints 1 to 1, tokens 0 to"):
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
