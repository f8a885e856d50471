"""Bad chunks, full disks, errors in any stage, and Ctrl-C."""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from small_job import STEPS, Job
from zarr.storage import MemoryStore

import tsl_jax.store.losses
from tests.kills import full_disk
from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import Category, FitOptions, Status
from tsl_jax.jobs import fit_store
from tsl_jax.jobs.fit.fitter import BlockFitter
from tsl_jax.store import ChunkError, FitWriter, LockedError, StoreError, WriteError, create_losses, open_fits
from tsl_jax.store.ledger import ENTRIES

pytestmark = pytest.mark.usefixtures("cheap_engine")


def corrupt(path, at=40):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.fixture
def shard(job):
    """The stored object with tokens 64 to 95, in chunks of 16."""
    return Path(job.source) / "losses/c/2/0"


def test_a_corrupted_chunk_stops_the_run_and_is_named(job, tmp_path, shard):
    corrupt(shard)
    with pytest.raises(ChunkError, match="array 'losses', chunk losses/c/2/0, tokens 64 to 79"):
        job.fit(tmp_path / "fits")  # in the sample that shows the noise
    assert not (tmp_path / "fits/zarr.json").exists()
    with pytest.raises(ChunkError, match="array 'losses', chunk losses/c/2/0, tokens 64 to 79"):
        job.fit(tmp_path / "fits", noise=None)
    assert open_fits(tmp_path / "fits").ledger.states[1] == 0


@pytest.mark.parametrize("noise", ["estimate", None])
def test_after_a_repair_a_stopped_run_goes_on(job, tmp_path, shard, tree, noise):
    shutil.copy(shard, tmp_path / "good")
    corrupt(shard)
    with pytest.raises(ChunkError):
        job.fit(tmp_path / "fits", noise=noise)
    shutil.copy(tmp_path / "good", shard)
    job.fit(tmp_path / "fits", noise=noise)
    job.fit(tmp_path / "whole", noise=noise)
    assert tree(tmp_path / "fits") == tree(tmp_path / "whole")


@pytest.mark.parametrize("how", ["corrupted", "absent"])
def test_skipping_loses_only_the_bad_chunk_and_a_later_run_tries_it_again(how, tmp_path, tree):
    job = Job(tmp_path / "losses.zarr")
    values = np.nan_to_num(job.values("float32"), nan=5.0)
    create_losses(job.source, values, checkpoints={"step": STEPS}, chunk_tokens=16, shard_tokens=16)
    if how == "absent":  # with this fill value a chunk that is lost would read as zeros
        group = zarr.open_group(job.source, mode="r+")
        attributes = {"dimension_names": ("token", "checkpoint"), "overwrite": True}
        group.create_array("losses", data=values, chunks=(16, 12), fill_value=0.0, **attributes)
    job.fit(tmp_path / "whole", noise=None)
    chunk = tmp_path / "losses.zarr/losses/c/5/0"
    shutil.copy(chunk, tmp_path / "good")
    if how == "absent":
        chunk.unlink()
    else:
        corrupt(chunk)
    lost, clean = slice(80, 96), open_fits(tmp_path / "whole").read()

    for _ in range(2):
        summary = job.fit(tmp_path / "fits", on_bad_chunk="skip", noise=None)
        assert not summary.complete
        assert [(bad.chunk, bad.start, bad.stop) for bad in summary.bad_chunks] == [("losses/c/5/0", 80, 96)]
        assert summary.status_counts["UNREADABLE"] == 16
        assert sum(summary.status_counts.values()) == 150
    assert (summary.blocks, summary.blocks_run) == (3, 1)
    got = open_fits(tmp_path / "fits").read()
    assert np.all(got.status[lost] == Status.UNREADABLE)
    assert np.all(got.category[lost] == Category.NONE)
    assert np.all(got.num_points[lost] == 0)
    for likely in (got.second_event, got.noise_correlation, got.effective_points, *got.probabilities.values()):
        assert np.isnan(likely[lost]).all()
        assert np.isfinite(np.delete(likely, lost)).all()
    for name in ("learning_time", "sharpness", "loss_drop", "final_loss"):
        assert np.isnan(got.params[name][lost]).all()
        np.testing.assert_array_equal(np.delete(got.params[name], lost), np.delete(clean.params[name], lost))
    with pytest.raises(ChunkError):
        job.fit(tmp_path / "fits", noise=None)
    assert not open_fits(tmp_path / "fits").complete

    shutil.copy(tmp_path / "good", chunk)
    summary = job.fit(tmp_path / "fits", noise=None)
    assert summary.complete
    assert summary.blocks_run == 1
    trees = [tree(tmp_path / name) for name in ("fits", "whole")]
    records = [np.frombuffer(files.pop("ledger/c.1.0")[:-4], "<i8") for files in trees]
    assert trees[0] == trees[1]
    differ = {ENTRIES[at] for at in np.flatnonzero(records[0] != records[1])}
    assert differ <= {"input_objects", "crc32"}  # the restored file is another, with the same losses


def test_a_lost_coordinate_makes_its_tokens_unreadable(job, tmp_path):
    corrupt(Path(job.source) / "domain/c/0", 2)
    with pytest.raises(ChunkError, match="array 'domain'"):
        job.fit(tmp_path / "fits")
    summary = job.fit(tmp_path / "fits", on_bad_chunk="skip")
    assert summary.status_counts["UNREADABLE"] == 150


def test_a_full_disk_is_named_and_the_run_goes_on_later(job, tmp_path, tree):
    job.fit(tmp_path / "whole")
    words = r"'rss', tokens 64 to 127 \(block 1\).*No space left"
    with full_disk("rss/c/1"), pytest.raises(WriteError, match=words):
        job.fit(tmp_path / "fits")
    assert open_fits(tmp_path / "fits").ledger.states[1] == 0
    job.fit(tmp_path / "fits")
    assert tree(tmp_path / "fits") == tree(tmp_path / "whole")


def no_threads_left():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("tsl-")]


@pytest.fixture
def patch():
    """A monkeypatch that a test may undo without undoing its fixtures'."""
    patch = pytest.MonkeyPatch()
    yield patch
    patch.undo()


class Trouble(Exception):
    pass


@pytest.mark.parametrize("stage", ["read", "fit", "write", "progress"])
def test_an_error_in_any_stage_comes_out_as_itself(job, tmp_path, stage, patch):
    def fail(*_, **__):
        raise Trouble(stage)

    progress = None
    if stage == "read":
        patch.setattr(tsl_jax.store.losses, "read_rows", fail)
    elif stage == "fit":
        patch.setattr(BlockFitter, "__call__", fail)
    elif stage == "write":
        patch.setattr(FitWriter, "write", fail)
    else:
        calls = []

        def progress(*numbers):
            calls.append(numbers)
            if len(calls) == 2:
                fail()

    with pytest.raises(Trouble, match=stage):
        job.fit(tmp_path / "fits", progress=progress)
    assert no_threads_left()
    patch.undo()
    assert job.fit(tmp_path / "fits").complete


def test_ctrl_c_while_waiting_ends_the_run_and_frees_the_output(job, tmp_path, patch):
    real = tsl_jax.store.losses.read_rows
    main = threading.main_thread().ident

    def interrupted(array, start, stop, **options):
        if start == 128 and array.basename == "losses":
            # Elsewhere, as in a destructor, Python may lose the exception: it waits for this block once it waits long.
            waited = 0
            while waited < 50:
                waiting = sys._current_frames()[main].f_code is threading.Condition.wait.__code__
                waited = waited + 1 if waiting else 0
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
        return real(array, start, stop, **options)

    patch.setattr(tsl_jax.store.losses, "read_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.fit(tmp_path / "fits")
    assert no_threads_left()
    patch.undo()
    assert job.fit(tmp_path / "fits").complete


def test_a_lost_lock_keeps_a_block_from_counting(job, monkeypatch):
    target = MemoryStore()

    def lost(_):
        raise LockedError("another run took over")

    monkeypatch.setattr("tsl_jax.store.lease.Lease.check", lost)
    with pytest.raises(LockedError, match="took over"):
        job.fit(target)
    assert open_fits(target).ledger.states.tolist() == [0, 0, 0]


def test_the_input_is_never_the_output(job):
    with pytest.raises(StoreError, match="is the input"):
        fit_store(job.source, job.source, Sigmoid(), options=FitOptions(), overwrite=True)
