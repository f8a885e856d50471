"""Bad chunks cost their own rows, are named, and absence is told from zeros."""

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from tsl_jax.store import ChunkError, create_losses, open_losses, read_rows, read_rows_with_gaps

VALUES = np.arange(1, 401, dtype="float32").reshape(100, 4)


def written(tmp_path, **layout):
    return create_losses(tmp_path / "losses.zarr", VALUES, checkpoints={"step": [1, 2, 3, 4]}, **layout).losses


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def test_a_corrupted_inner_chunk_is_named_and_loses_its_own_rows(tmp_path):
    array = written(tmp_path, chunk_tokens=10, shard_tokens=50)
    flip(tmp_path / "losses.zarr/losses/c/1/0", 30)  # in the first inner chunk of the second shard
    np.testing.assert_array_equal(read_rows(array, 0, 50), VALUES[:50])
    with pytest.raises(ChunkError, match="losses/c/1/0, tokens 50 to 59") as raised:
        read_rows(array, 0, 100)
    assert isinstance(raised.value, OSError)
    assert (raised.value.bad.start, raised.value.bad.stop) == (50, 60)
    values, bad = read_rows_with_gaps(array, 5, 100)
    assert [(b.array, b.chunk, b.start, b.stop) for b in bad] == [("losses", "losses/c/1/0", 50, 60)]
    expected = VALUES.copy()
    expected[50:60] = np.nan
    np.testing.assert_array_equal(values, expected[5:])


def test_a_broken_shard_index_loses_the_shard(tmp_path):
    array = written(tmp_path, chunk_tokens=10, shard_tokens=50)
    flip(tmp_path / "losses.zarr/losses/c/0/0", -6)
    values, bad = read_rows_with_gaps(array, 0, 100)
    assert [(b.start, b.stop) for b in bad] == [(k, k + 10) for k in range(0, 50, 10)]
    np.testing.assert_array_equal(values[50:], VALUES[50:])


def test_a_truncated_chunk_without_shards(tmp_path):
    array = zarr.create_array(tmp_path / "a", data=VALUES, chunks=(20, 4), fill_value=np.nan)
    path = tmp_path / "a/c/2/0"
    path.write_bytes(path.read_bytes()[:-20])
    _, bad = read_rows_with_gaps(array, 0, 100)
    assert [(b.chunk, b.start, b.stop) for b in bad] == [("c/2/0", 40, 60)]


@pytest.mark.parametrize("shards", [None, (50, 4)])
@pytest.mark.parametrize("fill", [0.0, 1.0, np.nan])
def test_an_absent_chunk_is_bad_unless_said_otherwise(tmp_path, shards, fill):
    values = VALUES.copy()
    values[20:30] = fill  # Zarr does not store a chunk of the fill value
    array = zarr.create_array(tmp_path / "a", data=values, chunks=(10, 4), shards=shards, fill_value=fill)
    got, bad = read_rows_with_gaps(array, 0, 100)
    assert [(b.start, b.stop, b.absent) for b in bad] == [(20, 30, True)]
    assert np.isnan(got[20:30]).all()
    np.testing.assert_array_equal(np.delete(got, slice(20, 30), 0), np.delete(VALUES, slice(20, 30), 0))
    with pytest.raises(ChunkError, match="not stored"):
        read_rows(array, 0, 100)
    np.testing.assert_array_equal(read_rows(array, 0, 100, absent="nan"), got)
    np.testing.assert_array_equal(read_rows(array, 0, 100, absent="fill"), values)


@pytest.mark.parametrize("shards", [None, (50, 4)])
def test_a_stored_chunk_of_the_fill_value_is_no_absent_one(tmp_path, shards):
    values = VALUES.copy()
    values[20:30] = np.nan
    options = {"chunks": (10, 4), "shards": shards, "fill_value": np.nan, "config": {"write_empty_chunks": True}}
    array = zarr.create_array(tmp_path / "a", data=values, **options)
    np.testing.assert_array_equal(read_rows(array, 0, 100), values)


@pytest.mark.parametrize(("shards", "key", "lost"), [(None, "a/c/2/0", (20, 30)), ((50, 4), "a/c/0/0", (0, 50))])
@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_an_empty_object_is_unreadable_whatever_is_said_of_absent_ones(tmp_path, shards, key, lost, fill):
    array = zarr.create_array(tmp_path / "a", data=VALUES, chunks=(10, 4), shards=shards, fill_value=fill)
    (tmp_path / key).write_bytes(b"")
    for absent in ("refuse", "nan", "fill"):
        for rows in ((0, 100), (0, 50), (20, 30)):  # whole shards, and parts of one
            with pytest.raises(ChunkError):
                read_rows(array, *rows, absent=absent)
        got, bad = read_rows_with_gaps(array, 0, 100, absent=absent)
        assert (bad[0].start, bad[-1].stop) == lost
        assert np.isnan(got[slice(*lost)]).all()


def test_columns_of_a_row_that_are_absent_cost_no_others(tmp_path):
    values = VALUES.copy()
    values[10:20, 2:] = 0
    array = zarr.create_array(tmp_path / "a", data=values, chunks=(10, 2), fill_value=0.0)
    with pytest.raises(ChunkError, match="c/1/1, tokens 10 to 19: not stored"):
        read_rows(array, 5, 25)
    with pytest.raises(ChunkError, match="c/1/1"):
        read_rows(array, 5, 25, columns=slice(1, 3))
    np.testing.assert_array_equal(read_rows(array, 5, 25, columns=slice(0, 2)), values[5:25, :2])
    expected = values.copy()
    expected[10:20, 2:] = np.nan
    np.testing.assert_array_equal(read_rows(array, 5, 25, absent="nan"), expected[5:25])


def test_a_single_zero_loss_is_no_absent_chunk(tmp_path):
    values = VALUES.copy()
    values[::10] = 0
    array = zarr.create_array(tmp_path / "a", data=values, chunks=(10, 4), fill_value=0.0)
    np.testing.assert_array_equal(read_rows(array, 0, 100), values)


def test_a_passing_failure_is_told_as_it_was(tmp_path, monkeypatch):
    written(tmp_path, chunk_tokens=10, shard_tokens=50)
    array = open_losses(tmp_path / "losses.zarr").losses
    real, failures = LocalStore.get, [OSError("connection lost")]

    async def fail_once(self, *args, **kwargs):
        if failures:
            raise failures.pop()
        return await real(self, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", fail_once)
    with pytest.raises(ChunkError, match="connection lost"):
        read_rows(array, 0, 100)
    np.testing.assert_array_equal(read_rows(array, 0, 100), VALUES)
