"""One writer at a time: the second run on an output is refused, and a killed one frees it."""

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zarr.buffer import default_buffer_prototype

from .errors import LockedError, StoreError, writing
from .event_loop import wait_for
from .local_files import make_folder
from .location import Location
from .schema import LEDGER

#: How long a lease on a store that is no local directory outlives its last heartbeat, in seconds.
LEASE_SECONDS = 60.0


class Lock:
    """Held by the one run that writes."""

    def check(self) -> None:
        """Raise if the lock was lost; called before a block is counted as done."""


@contextlib.contextmanager
def writer_lock(location: Location) -> Iterator[Lock]:
    """Hold an output for writing, or refuse.

    On a local directory it is a lock of the kernel on ``ledger/.lock``, freed when the process ends in any
    way. On other stores, and on file systems without such locks, it is a lease object ``ledger/lease`` that
    is renewed while the run lives: after a kill the output is free again `LEASE_SECONDS` later. Leases
    compare the clocks of the two machines, and stores that cannot create an object only if it is absent leave
    two runs that start within the same instant a chance to both pass the first test; the loser stops at its
    next block.

    Raises:
        LockedError: another run is writing this output.
        WriteError: the lock itself could not be written.
    """
    directory = location.directory
    if directory is not None:
        with writing(location.name, f"the lock {LEDGER}/.lock", kept="This run has written nothing."):
            descriptor = _lock_file(directory / LEDGER / ".lock", location.name)
        if descriptor is not None:
            try:
                yield Lock()
            finally:
                os.ftruncate(descriptor, 0)
                os.close(descriptor)
            return
    lease = _Lease(location)
    lease.acquire()
    try:
        yield lease
    finally:
        lease.release()


def _lock_file(path: Path, name: str) -> int | None:
    """A descriptor that holds the kernel's lock; None where the file system has none."""
    try:
        import fcntl
    except ImportError:
        return None
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _holder().encode(), 0)
    except OSError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace")
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise _refusal(name, holder or "another process", "") from error
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            return None
        raise
    return descriptor


def _now() -> float:
    """Seconds since 1970: leases are compared between machines."""
    return time.time()


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _refusal(name: str, holder: str, more: str) -> LockedError:
    return LockedError(f"{name}: {holder} is writing it.{more} Wait for that run, stop it, or write to another output.")


class _Lease(Lock):
    def __init__(self, location: Location) -> None:
        self._store, self._name = location.store, location.name
        self._key = location.key(f"{LEDGER}/lease")
        self._owner = uuid.uuid4().hex
        self._until = 0.0
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="tsl-lease", daemon=True)

    def acquire(self) -> None:
        held = self._read()
        if held is None:
            self._until = _now() + LEASE_SECONDS
            with self._writing():
                wait_for(self._store.set_if_not_exists(self._key, self._buffer()))
        else:
            self._refuse_if_alive(held)
            self._renew()
            time.sleep(min(1.0, LEASE_SECONDS / 10))  # of two runs that take over at once, the last writer stays
        held = self._read()
        if held is None or held["owner"] != self._owner:
            self._refuse_if_alive(held or {"holder": "another process", "until": 0.0}, certain=True)
        self._thread.start()

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        # A lease that cannot be deleted ends by itself; saying so would hide why the store fails.
        with contextlib.suppress(StoreError), self._writing():
            held = self._read()
            if held is not None and held["owner"] == self._owner:
                wait_for(self._store.delete(self._key))

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if _now() > self._until:
            raise LockedError(
                f"{self._name}: this run could not renew its lease for {LEASE_SECONDS:.0f} s and stops, as "
                "another may have taken over. What was finished is kept. Run the same command again to go on."
            )

    def _beat(self) -> None:
        while not self._stop.wait(LEASE_SECONDS / 4):
            try:
                held = self._read()
                if held is None or held["owner"] != self._owner:
                    raise _refusal(self._name, held["holder"] if held else "another process", "")
                self._renew()
            except BaseException as error:  # raised by check(), in the thread that writes
                self._failure = error
                return

    def _refuse_if_alive(self, held: dict[str, Any], certain: bool = False) -> None:
        left = held["until"] - _now()
        if certain or left > 0:
            more = f" If it was killed, the output is free in {left:.0f} s." if left > 0 else ""
            raise _refusal(self._name, held["holder"], more)

    def _renew(self) -> None:
        until = _now() + LEASE_SECONDS
        previous, self._until = self._until, until
        try:
            with self._writing():
                wait_for(self._store.set(self._key, self._buffer()))
        except BaseException:
            self._until = previous
            raise

    def _buffer(self) -> Any:
        text = json.dumps({"owner": self._owner, "holder": _holder(), "until": self._until})
        return default_buffer_prototype().buffer.from_bytes(text.encode())

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self._name, f"the lease {LEDGER}/lease")

    def _read(self) -> dict[str, Any] | None:
        with self._writing():
            buffer = wait_for(self._store.get(self._key, default_buffer_prototype()))
        if buffer is None:
            return None
        try:
            held = json.loads(buffer.to_bytes())
            return {"owner": str(held["owner"]), "holder": str(held["holder"]), "until": float(held["until"])}
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{self._name}: the lease {LEDGER}/lease is damaged. Make sure that no run is writing here, delete "
                "that object, and run the same command again."
            ) from error
