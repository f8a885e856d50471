"""One writer at a time, on every kind of store, and free again after a kill."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, ObjectStore, StorePath, WrapperStore

from tsl_jax.store import LockedError, lease, locate, writer_lock
from tsl_jax.store.event_loop import wait_for


def stores(kind, tmp_path):
    """Two stores of a kind, opened apart, over the same data."""
    if kind == "directory":
        return tmp_path / "a.zarr", LocalStore(tmp_path / "a.zarr")
    if kind == "memory":
        first = MemoryStore()
        return first, first.with_read_only(False)
    if kind == "path":
        first = MemoryStore()
        return StorePath(first, "a/b"), StorePath(first, "a/b")
    if kind == "wrapped":
        return WrapperStore(LocalStore(tmp_path / "a.zarr")), WrapperStore(LocalStore(tmp_path / "a.zarr"))
    first = pytest.importorskip("obstore").store.MemoryStore()
    return ObjectStore(first), ObjectStore(first)


@pytest.mark.parametrize("kind", ["directory", "memory", "path", "wrapped", "obstore"])
def test_the_second_is_refused_until_the_first_ends(kind, tmp_path):
    first, second = (locate(store, writable=True) for store in stores(kind, tmp_path))
    with writer_lock(first) as held:
        held.check()
        said = rf"process {os.getpid()} .* is writing it.* written nothing.* kept\. Wait for it or stop it"
        with pytest.raises(LockedError, match=said) as raised, writer_lock(second):
            pass
        assert isinstance(raised.value, BlockingIOError)
    with writer_lock(second):
        pass


def test_a_run_that_raises_frees_the_output():
    location = locate(MemoryStore())
    with pytest.raises(RuntimeError), writer_lock(location):
        raise RuntimeError
    assert not location.store._store_dict


class Clock:
    """Stands still but when a test moves it: no test depends on how long anything takes."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(lease, "_now", clock)
    return clock


@pytest.fixture
def often(monkeypatch):
    """Lets a lease be renewed all the time."""
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.01)


def put(location, key="ledger/lease", **lease):
    buffer = default_buffer_prototype().buffer.from_bytes(json.dumps(lease).encode())
    wait_for(location.store.set(key, buffer))


@pytest.mark.usefixtures("often")
def test_a_lease_is_taken_over_when_it_has_expired(clock):
    location = locate(MemoryStore())
    put(location, owner="dead", holder="process 1 on elsewhere", until=clock.now + 0.009)
    with pytest.raises(LockedError, match=r"process 1 on elsewhere.*free in 0 s"), writer_lock(location):
        pass
    clock.now += 0.01
    with writer_lock(location) as held:
        held.check()


@pytest.mark.usefixtures("often")
def test_a_dead_lease_of_a_clock_that_is_ahead_is_taken_over(clock):
    location = locate(MemoryStore())
    put(location, owner="dead", holder="process 1 on elsewhere", until=clock.now + 3e7)
    with writer_lock(location) as held:
        held.check()


@pytest.mark.usefixtures("clock")
def test_a_living_lease_of_a_clock_that_is_ahead_is_seen_by_its_heartbeat(monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.5)
    location, beat, stop = locate(MemoryStore()), 0.0, threading.Event()

    def live():
        nonlocal beat
        while not stop.wait(0.01):
            beat += 1
            put(location, owner="far", holder="process 3 on elsewhere", until=3e7 + beat)

    put(location, owner="far", holder="process 3 on elsewhere", until=3e7)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        living = threads.submit(live)
        with pytest.raises(LockedError, match="process 3 on elsewhere"), writer_lock(location):
            pass
        stop.set()
        living.result()


@pytest.mark.parametrize("kind", ["directory", "memory", "path", "wrapped", "obstore"])
def test_parts_share_what_nobody_then_has_alone(kind, tmp_path):
    first, second = (locate(store, writable=True) for store in stores(kind, tmp_path))
    with writer_lock(first, shared=True) as one, writer_lock(second, shared=True) as other:
        one.check()
        other.check()
        with pytest.raises(LockedError, match=f"process {os.getpid()}"), writer_lock(second):
            pass
        one.check()  # the attempt has changed nothing
        with writer_lock(second, shared=True) as third:
            third.check()
    with writer_lock(second), pytest.raises(LockedError), writer_lock(first, shared=True):
        pass
    with writer_lock(first):
        pass


@pytest.mark.usefixtures("often")
def test_a_part_that_was_killed_frees_the_output(clock):
    location = locate(MemoryStore())
    put(location, "ledger/lease-" + "0" * 32, owner="dead", holder="process 1 on elsewhere", until=clock.now + 0.009)
    with pytest.raises(LockedError, match="process 1 on elsewhere"), writer_lock(location):
        pass
    clock.now += 0.01
    with writer_lock(location):
        assert set(location.store._store_dict) == {"ledger/lease"}
    assert not location.store._store_dict


@pytest.mark.usefixtures("often")
def test_a_run_that_lost_its_lease_stops(clock):
    location = locate(MemoryStore())
    with writer_lock(location) as held:
        while held._thread.is_alive():  # a renewal already under way may overwrite the other's lease
            put(location, owner="other", holder="process 2 on elsewhere", until=clock.now + 300)
            held._thread.join(0.01)
        with pytest.raises(
            LockedError, match=r"of this run was taken over by process 2.* kept\. .*run the same command again"
        ):
            held.check()
    assert b"other" in location.store._store_dict["ledger/lease"].to_bytes()


@pytest.mark.usefixtures("often", "clock")
def test_a_run_whose_lease_was_deleted_stops():
    location = locate(MemoryStore())
    with writer_lock(location) as held:
        while held._thread.is_alive():
            location.store._store_dict.pop("ledger/lease", None)
            held._thread.join(0.01)
        with pytest.raises(LockedError, match=r"ledger/lease of this run was deleted.* kept\."):
            held.check()


@pytest.mark.usefixtures("often")
def test_a_lease_is_renewed(clock):
    location = locate(MemoryStore())
    with writer_lock(location) as held:
        first = held._until
        clock.now += 0.005
        while held._until == first:
            threading.Event().wait(0.001)
        held.check()
        assert held._until == clock.now + 0.01


def test_a_run_whose_lease_was_not_renewed_in_time_stops(clock):
    location = locate(MemoryStore())
    with writer_lock(location) as held:
        held.check()
        clock.now += lease.LEASE_SECONDS + 1
        said = r"could not renew its lease ledger/lease for 60 s .* kept\. Run the same command again"
        with pytest.raises(LockedError, match=said):
            held.check()


@pytest.mark.usefixtures("often", "clock")
def test_a_lease_that_cannot_be_renewed_stops_the_run(monkeypatch):
    location = locate(MemoryStore())

    async def fail(*_):
        raise OSError("connection lost")

    with writer_lock(location) as held:
        monkeypatch.setattr(location.store, "set", fail)
        held._thread.join()
        with pytest.raises(OSError, match="connection lost"):
            held.check()


def test_a_killed_process_frees_a_directory(tmp_path):
    code = (
        "import sys; from tsl_jax.store import locate, writer_lock\n"
        "with writer_lock(locate(sys.argv[1], writable=True)):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.zarr")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        location = locate(tmp_path / "a.zarr", writable=True)
        with pytest.raises(LockedError, match=f"process {process.pid}"), writer_lock(location):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with writer_lock(location):
            pass
