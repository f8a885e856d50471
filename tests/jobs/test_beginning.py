"""New fits are begun while their store is made: nothing is written before, and errors come as if it were made first."""

import threading

import numpy as np
import pytest
from small_job import Job
from zarr.storage import MemoryStore

from tsl_jax.jobs.fit import beginning, running
from tsl_jax.jobs.fit.fitter import BlockFitter
from tsl_jax.store import BlockState, ChunkError, LockedError, StoreError, locate, open_fits, writer_lock

pytestmark = pytest.mark.usefixtures("cheap_engine")


@pytest.fixture
def fitted(monkeypatch):
    """Set when a block is fitted."""
    event, real = threading.Event(), BlockFitter.__call__

    def fit(self, losses):
        event.set()
        return real(self, losses)

    monkeypatch.setattr(BlockFitter, "__call__", fit)
    return event


def no_thread_is_left():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("tsl-begin")]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_first_block_is_fitted_while_the_store_is_made(overwrite, job, tmp_path, tree, fitted, monkeypatch):
    job.fit(tmp_path / "expected")
    if overwrite:
        job.fit(tmp_path / "fits", overwrite=True)
    fitted.clear()
    create = running.resume_or_create

    def slow(*arguments, **options):
        assert fitted.wait(60)
        return create(*arguments, **options)

    monkeypatch.setattr(running, "resume_or_create", slow)
    assert job.fit(tmp_path / "fits", overwrite=overwrite).blocks_run == 3
    assert tree(tmp_path / "fits") == tree(tmp_path / "expected")
    assert no_thread_is_left()


def test_what_fails_while_it_is_made_is_raised(job, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise StoreError("cannot be made")

    monkeypatch.setattr(running, "resume_or_create", fail)
    with pytest.raises(StoreError, match="cannot be made"):
        job.fit(tmp_path / "fits")
    assert no_thread_is_left()


def test_a_bad_chunk_is_told_when_the_store_is_made(job, tmp_path):
    path = job.source / "losses/c/0/0"
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ChunkError, match="checksum"):
        job.fit(tmp_path / "fits", noise=None)
    assert not open_fits(tmp_path / "fits").ledger.states.any()
    assert no_thread_is_left()


def test_nothing_is_fitted_for_an_output_that_another_run_writes(job, tmp_path, fitted):
    with writer_lock(locate(tmp_path / "fits", writable=True)), pytest.raises(LockedError):
        job.fit(tmp_path / "fits")
    assert not fitted.is_set()
    assert no_thread_is_left()


@pytest.mark.parametrize("options", [{"part": (0, 2)}, {}])
def test_only_new_fits_are_begun(options, job, tmp_path, monkeypatch):
    if not options:

        def stop(done, total):
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            job.fit(tmp_path / "fits", progress=stop)
        assert BlockState.FINISHED in open_fits(tmp_path / "fits").ledger.states
    monkeypatch.setattr(beginning, "Begun", None)
    monkeypatch.setattr(running, "BegunFit", None)
    job.fit(tmp_path / "fits", **options)


def test_what_is_kept_of_a_sample_is_what_would_be_read(monkeypatch):
    """Runs that lie across blocks, in a store whose first block was fitted by another run."""
    from tsl_jax.jobs.fit import samples

    monkeypatch.setattr(samples, "_SAMPLED_TOKENS", 100)
    monkeypatch.setattr(samples, "_RUN_TOKENS", 25)
    job, target = Job(MemoryStore()), MemoryStore()
    job.write()
    job.fit(target, part=(0, 3))
    summary = job.fit(target)
    assert summary.blocks_run == 2
    read = samples.describe_samples(open_fits(target))
    assert {name: getattr(summary, name) for name in read} == read
    kept = samples.KeptSample(job.tokens)
    stored = open_fits(target)
    values = {name: stored.arrays[name][:] for name in samples._NAMES}
    for start in (0, 64, 128):
        kept.keep(start, {name: column[start : start + 64] for name, column in values.items()})
    for run in samples._runs(job.tokens):
        np.testing.assert_array_equal(kept.rows("status", run), values["status"][run])
