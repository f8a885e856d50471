"""Seconds by stage: what is slow is said to be, and timing changes nothing that is read."""

import asyncio
import sys

import jax
import numpy as np
import pytest
import zarr
from small_job import Job
from zarr.storage import LocalStore, MemoryStore

from tsl_jax.jobs.fit.fitter import BlockFitter
from tsl_jax.store import ChunkError, FitWriter, open_losses
from tsl_jax.stream import StageSeconds
from tsl_jax.stream.plan import Block
from tsl_jax.stream.reading import BlockReader, _TimedStore

pytestmark = pytest.mark.usefixtures("cheap_engine")


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        ({"waited_for_fit": 2.0, "waited_for_input": 1.0, "read": 9.0}, "fit"),
        ({"waited_for_write": 2.0, "waited_for_fit": 1.0}, "write"),
        ({"waited_for_input": 2.0, "read": 1.0, "decode": 3.0, "transfer": 2.0, "fit": 9.0}, "decode"),
        ({"waited_for_input": 2.0, "read": 4.0, "decode": 3.0}, "read"),
    ],
)
def test_the_stage_that_was_waited_for_sets_the_rate(seconds, limit):
    assert StageSeconds(**seconds).limit == limit


NAP = 0.15


class SlowStore(MemoryStore):
    async def get(self, key, *arguments, **options):
        if "/c/" in key:
            await asyncio.sleep(NAP)
        return await super().get(key, *arguments, **options)


@pytest.mark.parametrize("stage", ["read", "fit", "write"])
def test_a_slow_stage_is_found_out(stage, monkeypatch):
    """Only lower bounds: what sleeps is at work for as long at least, and is waited for longest."""
    job = Job(SlowStore() if stage == "read" else MemoryStore(), coordinates=False)
    job.write()
    if stage == "fit":
        real = BlockFitter.__call__

        def slow_fit(self, losses):
            jax.block_until_ready(losses)
            asyncio.run(asyncio.sleep(NAP))
            return real(self, losses)

        monkeypatch.setattr(BlockFitter, "__call__", slow_fit)
    if stage == "write":
        write = FitWriter.write

        def slow_write(self, *arguments):
            asyncio.run(asyncio.sleep(NAP))
            write(self, *arguments)

        monkeypatch.setattr(FitWriter, "write", slow_write)
    job.fit(MemoryStore())  # compiles
    summary = job.fit(MemoryStore())
    assert summary.stages.limit == stage
    assert getattr(summary.stages, stage) >= (1 if stage == "read" else 2) * NAP
    assert summary.as_dict()["limited_by"] == stage
    assert summary.as_dict()["stages"]["decode"] > 0
    assert summary.fit_seconds == summary.stages.fit


def test_nothing_done_is_limited_by_nothing(job, tmp_path):
    job.fit(tmp_path / "fits")
    again = job.fit(tmp_path / "fits")
    assert again.as_dict()["limited_by"] is None
    assert again.stages == StageSeconds()


def test_requests_that_overlap_count_once():
    async def both(store):
        prototype = zarr.buffer.default_buffer_prototype()
        return await asyncio.gather(*(store.get(key, prototype) for key in ("a/c/0", "a/c/1")))

    store = _TimedStore(SlowStore())
    assert asyncio.run(both(store)) == [None, None]
    assert NAP <= store.seconds < 2 * NAP


def test_a_timed_store_reads_what_is_there_and_is_called_the_same(job):
    """Whole shards and parts of them, from a directory."""
    losses = open_losses(job.source)
    reader = BlockReader(losses, lambda rows: rows)
    whole = reader(Block(0, 0, job.tokens))
    np.testing.assert_array_equal(whole.losses, job.values())
    part = reader(Block(1, 5, 77))
    np.testing.assert_array_equal(part.losses, job.values()[5:77])
    assert set(part.coordinates) == {"domain", "token_id"}
    assert set(part.seconds) == {"read", "decode", "transfer"}
    assert min(part.seconds.values()) >= 0
    assert str(_TimedStore(losses.losses.store)) == str(losses.losses.store)
    assert isinstance(losses.losses.store, LocalStore)


def test_zarrs_reads_the_same_where_it_is_installed(job, monkeypatch):
    pytest.importorskip("zarrs")
    losses = open_losses(job.source)
    before = dict(zarr.config.get("codec_pipeline"))
    fast = BlockReader(losses, lambda rows: rows)
    assert set(fast._fast) == {"losses", "domain", "token_id"}
    assert dict(zarr.config.get("codec_pipeline")) == before
    assert BlockReader(open_losses(_in_memory().source), lambda rows: rows)._fast == {}  # a store that it does not know
    monkeypatch.setitem(sys.modules, "zarrs", None)  # as if it were not there
    plain = BlockReader(losses, lambda rows: rows)
    assert plain._fast == {}
    for block in (Block(0, 64, 128), Block(1, 0, job.tokens), Block(2, 5, 77)):
        left, right = fast(block), plain(block)
        np.testing.assert_array_equal(left.losses, right.losses)
        np.testing.assert_array_equal(left.coordinates["token_id"], right.coordinates["token_id"])
        assert left.digest == right.digest


def _in_memory():
    job = Job(MemoryStore())
    job.write()
    return job


@pytest.mark.parametrize("block", [(64, 128), (64, 96), (70, 80), (64, 150), (128, 150)])
def test_a_changed_byte_is_found_whoever_reads_and_however_much(job, block):
    """In the middle of a chunk's bytes, where decoding itself does not fail."""
    for index in (2, 4):
        path = job.source / f"losses/c/{index}/0"
        data = bytearray(path.read_bytes())
        data[40] ^= 0xFF
        path.write_bytes(bytes(data))
    with pytest.raises(ChunkError, match="checksum"):
        BlockReader(open_losses(job.source), lambda rows: rows)(Block(0, *block))
