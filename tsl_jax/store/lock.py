"""One run at a time writes an output, or several that share its work; a killed one frees it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from .errors import writing
from .lease import Lease, holder_here, refusal
from .local_files import make_folder
from .location import Location
from .schema import LEDGER


class Lock(Protocol):
    """Held by a run that writes."""

    def check(self) -> None:
        """Raise if the lock was lost; called before a block is counted as done."""


class Unlocked:
    """Of a run that writes nothing."""

    def check(self) -> None:
        """Nothing can be lost."""


@contextlib.contextmanager
def writer_lock(location: Location, *, shared: bool = False) -> Iterator[Lock]:
    """Hold an output for writing, or refuse.

    On a local directory it is a lock of the kernel on ``ledger/.lock``, freed when the process ends in any
    way. On other stores, and on file systems without such locks, it is a lease object ``ledger/lease`` that
    is renewed while the run lives: after a kill the output is free again `LEASE_SECONDS` later. Leases
    compare the clocks of the two machines (one that reaches further than its length is watched for its heartbeat
    instead), and stores that cannot create an object only if it is absent leave two runs that start within the same
    instant a chance to both pass the first test; the loser stops at its next block.

    Args:
        location: the output.
        shared: whether others may hold it too, who ask for the same: the parts of a job. Nobody holds it alone then.

    Raises:
        LockedError: another run is writing this output.
        WriteError: the lock itself could not be written.
    """
    directory = location.directory
    if directory is not None:
        with writing(location.name, f"the lock {LEDGER}/.lock", kept="This run has written nothing."):
            descriptor = _lock_file(directory / LEDGER / ".lock", location.name, shared)
        if descriptor is not None:
            try:
                yield Unlocked()  # what the kernel holds is not lost
            finally:
                if not shared:
                    os.ftruncate(descriptor, 0)
                os.close(descriptor)
            return
    lease = Lease(location, shared=shared)
    lease.acquire()
    try:
        yield lease
    finally:
        lease.release()


def _lock_file(path: Path, name: str, shared: bool) -> int | None:
    """A descriptor that holds the kernel's lock; None where the file system has none."""
    try:
        import fcntl
    except ImportError:
        return None
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder_here().encode(), 0)
    except OSError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace")
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise refusal(name, holder or "another process") from error
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            return None
        raise
    return descriptor
