"""Fits on a Dask cluster of two real worker processes: whatever dies, the files are those of one process."""

import dataclasses
import errno
import functools
import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import zarr
from small_job import Job, with_path

import tsl_jax as tsl
from tests.kills import tree
from tests.store.test_rechunk import columns_store
from tsl_jax.fitting import FitOptions
from tsl_jax.jobs.fit import hardware
from tsl_jax.jobs.fit.running import FitJob
from tsl_jax.store import ChangedError, ChunkError, StoreError, WriteError, open_fits, rechunk
from tsl_jax.store.local_files import WholeFiles
from tsl_jax.stream.outcomes import WorkerError

distributed = pytest.importorskip("distributed")
KILLS = int(os.environ.get("TSL_FUZZ", 0)) // 50 or 2
OPTIONS = FitOptions(block_size=32, max_steps=8)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store of 24 blocks, and its fits by one process."""
    folder = tmp_path_factory.mktemp("many")
    job = Job(str(folder / "losses.zarr"), tokens=64 * 24 - 7)
    job.write()
    job.fit(folder / "one", tsl.Hyperbola())
    return job, tree(folder / "one")


def pids(client):
    """Process of each worker that runs, as the nannies know it."""
    return {nanny.worker_address: nanny.pid for nanny in client.cluster.workers.values() if nanny.pid}


def kill_one(client, rng):
    """Ends a worker's process; where all are just beginning again, waits for one."""
    while not (running := list(pids(client).values())):
        time.sleep(0.05)
    os.kill(rng.choice(running), signal.SIGKILL)


def whole_files(path):
    """Every file of a place, but those that a worker that has stopped was writing."""
    return {name: content for name, content in tree(path).items() if not name.endswith(".partial")}


def test_the_files_are_those_of_one_process(client, many, tmp_path):
    job, truth = many
    seen = []
    summary = job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client, progress=lambda *done: seen.append(done))
    assert tree(tmp_path / "fits") == truth
    assert (summary.workers, summary.tokens_run, summary.pending) == (2, job.tokens, 0)
    assert seen[0] == (0, job.tokens)
    assert seen[-1] == (job.tokens, job.tokens)
    again = job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
    assert (again.tokens_run, again.blocks_run) == (0, 0)
    assert tree(tmp_path / "fits") == truth


def test_sums_have_the_bits_of_one_process(client, tmp_path, monkeypatch):
    monkeypatch.setattr("tsl_jax.stream.passes.LEAST_TASK_TOKENS", 32)
    job = Job(str(tmp_path / "losses.zarr"))
    job.write()
    job.fit(tmp_path / "fits")
    here, there = (tsl.spectrum_of(tmp_path / "fits", client=where) for where in (None, client))
    for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_may_be_killed(client, many, tmp_path):
    job, truth = many
    rng, killed, attempt = random.Random(3), 0, 0
    while killed < KILLS:
        attempt += 1

        def kill(done, total):
            nonlocal killed
            if killed < KILLS and 0 < done < total:
                kill_one(client, rng)
                killed += 1
                client.wait_for_workers(2, timeout=120)

        job.fit(tmp_path / f"fits{attempt}", tsl.Hyperbola(), client=client, progress=kill)
        assert tree(tmp_path / f"fits{attempt}") == truth
    assert killed == KILLS


def test_lost_workers_are_counted_however_much_happens_meanwhile(client):
    from tsl_jax.stream.dask_workers import DaskWorkers

    def forget(dask_scheduler):
        dask_scheduler._broker.truncate()  # what a log does that is full

    workers = DaskWorkers(client)
    before = workers.lost
    for number in (1, 2):
        kill_one(client, random.Random(number))
        begun = time.monotonic()
        while workers.lost < before + number and time.monotonic() < begun + 60:
            time.sleep(0.1)
        client.run_on_scheduler(forget)
        assert DaskWorkers(client).lost == workers.lost == before + number
        client.wait_for_workers(2, timeout=120)


def test_workers_that_copy_may_be_killed(client, tmp_path):
    losses = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
    layout = {"chunk_tokens": 2, "shard_tokens": 4, "memory": 2 * 4 * 3 * 4}
    columns_store(tmp_path / "source", losses)
    rechunk(tmp_path / "source", tmp_path / "one", **layout)
    rng, killed = random.Random(5), 0

    def kill(done, total):
        nonlocal killed
        if killed < KILLS // 2 and done < total // 2:
            kill_one(client, rng)
            killed += 1

    rechunk(tmp_path / "source", tmp_path / "made", **layout, progress=kill, client=client)
    assert tree(tmp_path / "made") == tree(tmp_path / "one")
    assert killed


def test_workers_that_measure_may_be_killed(client, tmp_path):
    def bigrams(params, batch):  # sent by value: workers do not import this file
        logs = jax.nn.log_softmax(params[batch["before"]])
        return -jax.numpy.take_along_axis(logs, batch["token_id"][..., None], -1)[..., 0]

    rng, killed = np.random.default_rng(7), 0
    text = rng.integers(0, 5, (6, 4, 9))
    batches = [{"before": some[:, :-1], "token_id": some[:, 1:]} for some in text]
    checkpoints = [(step, rng.normal(size=(5, 5)).astype("float32")) for step in (1, 10, 100)]
    tsl.collect(bigrams, checkpoints, batches, tmp_path / "one")

    def kill(report):
        nonlocal killed
        if not killed:
            kill_one(client, random.Random(6))
            killed += 1

    tsl.collect(bigrams, checkpoints, batches, tmp_path / "made", client=client, progress=kill)
    assert killed
    assert tree(tmp_path / "made") == tree(tmp_path / "one")


def drive(script, text, client, *arguments):
    """Exit code of a driver in a process of its own."""
    script.write_text(text)
    command = [sys.executable, script, client.scheduler.address, *arguments]
    return subprocess.run([*map(str, command)], env=with_path(), timeout=300).returncode


DRIVER = """
import os, signal, sys
from distributed import Client
from small_job import Job, with_path
import tsl_jax as tsl

def kill(done, total):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with Client(sys.argv[1], set_as_default=False) as client:
        Job(sys.argv[2], tokens=int(sys.argv[4])).fit(sys.argv[3], tsl.Hyperbola(), client=client, progress=kill)
"""


def test_the_driver_may_be_killed(client, many, tmp_path):
    job, truth = many
    code = drive(tmp_path / "driver.py", DRIVER, client, job.source, tmp_path / "fits", job.tokens)
    assert code == -signal.SIGKILL
    first = open_fits(tmp_path / "fits").ledger.states
    assert first.any()
    summary = job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
    assert summary.blocks_run <= (first == 0).sum()
    assert tree(tmp_path / "fits") == truth


def test_a_bad_chunk_is_named_with_its_worker_and_keeps_the_rest(client, tmp_path):
    job = Job(str(tmp_path / "losses.zarr"))
    job.write()
    path = tmp_path / "losses.zarr/losses/c/2/0"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ChunkError, match=r"losses/c/2/0.*Restore the chunk.*In the worker process \d+ on"):
        job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
    assert not (tmp_path / "fits/ledger/run").exists()  # tasks that are still at work count nothing
    summary = job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client, on_bad_chunk="skip")
    assert {bad.chunk for bad in summary.bad_chunks} == {"losses/c/2/0"}


def _disk_is_full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _fill_disk():
    WholeFiles.real, WholeFiles.write_unsettled = WholeFiles.write_unsettled, _disk_is_full


def _free_disk():
    WholeFiles.write_unsettled = WholeFiles.real


def test_a_full_disk_of_one_worker_is_named(client, many, tmp_path):
    job, truth = many
    worker = next(iter(pids(client)))
    client.run(_fill_disk, workers=[worker])
    try:
        with pytest.raises(WriteError, match=r"No space left.*Free some space.*In the worker process \d+ on"):
            job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
    finally:
        client.run(_free_disk, workers=[worker])
    job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
    assert tree(tmp_path / "fits") == truth


def _other_kind(kernel, device):
    return {"device": device.device_kind, "kernel": kernel, "instructions": "x86-64-v1"}


def _describe_as(function):
    from tsl_jax.jobs.fit import plan, task

    plan.describe_fitter = task.describe_fitter = function


def test_a_mixture_of_hardware_is_refused_unless_it_is_allowed(client, many, tmp_path):
    job, _ = many
    worker = next(iter(pids(client)))
    client.run(_describe_as, _other_kind, workers=[worker])
    try:
        with pytest.raises(ChangedError, match=r"fitter: this worker would fit with .*instructions.*--mixed-hardware"):
            job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
        job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client, mixed_hardware=True)
    finally:
        client.run(_describe_as, hardware.describe_fitter, workers=[worker])
    assert len(set(open_fits(tmp_path / "fits").ledger.fitters.tolist())) == 2
    zarr.open_array(tmp_path / "fits/ledger", mode="r+")[0] = 0
    with pytest.raises(ChangedError, match=r"blocks, the first of them \d+, were fitted with"):
        job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client)


def test_other_versions_and_what_workers_do_not_see_are_named(client, many, tmp_path, monkeypatch):
    job, _ = many
    fit = functools.partial(job.fit, tmp_path / "fits", tsl.Hyperbola(), client=client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsl_jax.jobs.fit.elsewhere.package_version", lambda: "9.9")
        with pytest.raises(WorkerError, match=r"It has tsl_jax .*, the run 9\.9: install the same version"):
            fit()
    monkeypatch.setattr(FitJob, "create", lambda *_: pytest.fail("nothing is made"))
    source = zarr.storage.MemoryStore()
    zarr.open_group(source, mode="w")
    with pytest.raises(StoreError, match=r"losses: got a MemoryStore, which other processes do not see"):
        tsl.fit_store(source, tmp_path / "other", tsl.Hyperbola(), client=client)
    lost = str(tmp_path / "moved.zarr")
    real = FitJob.__init__

    def moved(self, request, *arguments, **options):
        real(self, request, *arguments, **options)
        self._request = dataclasses.replace(self._request, losses=lost)

    monkeypatch.setattr(FitJob, "__init__", moved)
    with pytest.raises(StoreError, match=r"moved\.zarr.*This worker does not see it: give a path on a file system"):
        fit()


def test_a_family_that_cannot_be_sent_is_named(client, many, tmp_path):
    class Own(tsl.Hyperbola):
        def __reduce__(self):
            raise TypeError("it holds a file")

    with pytest.raises(StoreError, match=r"family: .*cannot be sent to workers \(TypeError: it holds a file\)"):
        many[0].fit(tmp_path / "fits", Own(), client=client)
    assert not (tmp_path / "fits").exists()


def test_a_family_of_the_users_own_travels(client, tmp_path):
    class Own(tsl.Hyperbola):
        pass

    job = Job(str(tmp_path / "losses.zarr"))
    job.write()
    job.fit(tmp_path / "fits", Own(), client=client)
    assert open_fits(tmp_path / "fits").complete


NO_DEVICE = """
import sys
import tsl_jax as tsl
from distributed import Client
from jax._src import xla_bridge
from small_job import Job, with_path

if __name__ == "__main__":
    with Client(sys.argv[1], set_as_default=False) as client:
        Job(sys.argv[2]).fit(sys.argv[3], tsl.Hyperbola(), client=client)
    assert not xla_bridge.backends_are_initialized()
"""


def test_the_driver_starts_no_device(client, tmp_path):
    Job(str(tmp_path / "losses.zarr")).write()
    assert drive(tmp_path / "driver.py", NO_DEVICE, client, tmp_path / "losses.zarr", tmp_path / "f") == 0


def test_a_worker_that_stops_does_not_hold_the_run_and_counts_nothing_later(client, many, tmp_path):
    job, truth = many
    stopped = []

    def stop(done, total):
        if 0 < done < total and not stopped:
            stopped.append(next(iter(pids(client).values())))
            os.kill(stopped[0], signal.SIGSTOP)

    try:
        job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client, progress=stop)
        assert whole_files(tmp_path / "fits") == truth
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    address = next(worker for worker, process in pids(client).items() if process == stopped[0])
    assert client.submit(abs, -1, workers=[address], pure=False).result(timeout=120) == 1  # after what it was at
    assert whole_files(tmp_path / "fits") == truth


def test_a_lost_scheduler_is_named_and_nothing_is_lost(many, tmp_path):
    job, truth = many
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
    ) as cluster:
        client = distributed.Client(cluster, set_as_default=False)

        def lose(done, total):
            if 0 < done < total:
                cluster.close(timeout=120)

        with pytest.raises(WorkerError, match="The scheduler does not answer"):
            job.fit(tmp_path / "fits", tsl.Hyperbola(), client=client, progress=lose)
        client.close(timeout=1)
    assert open_fits(tmp_path / "fits").ledger.states.any()
    job.fit(tmp_path / "fits", tsl.Hyperbola())
    assert tree(tmp_path / "fits") == truth


def test_a_worker_without_the_package_is_named(many, tmp_path):
    preload = tmp_path / "without.py"
    preload.write_text("import sys\nsys.modules['tsl_jax'] = None  # what import says of a package that is not there\n")
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0, "silence_logs": 50}
    with (
        distributed.LocalCluster(n_workers=1, preload=[str(preload)], **options) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(WorkerError, match=r"A worker lacks the package 'tsl_jax'\. Install .*\(pip install 'tsl_jax"),
    ):
        many[0].fit(tmp_path / "fits", tsl.Hyperbola(), client=client)
    assert not (tmp_path / "fits").exists()
