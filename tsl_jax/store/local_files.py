"""Files on a local disk: each is whole or not there, and on the disk once its writing has returned.

A file is written under a name of its own, forced to the disk, and given its right name, which is forced to the disk
too. So a loss of power takes nothing that was written before, and never leaves an empty or cut file in its place: what
a record says is finished is there. (Zarr's own store leaves it to the system when, and in which order, files reach the
disk.) The files of a block do not count before its record: `WholeFiles.settle` forces them to the disk together, which
takes a tenth of the time.
"""

import asyncio
import contextlib
import errno
import functools
import hashlib
import itertools
import os
import re
import secrets
import shutil
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from zarr.abc.buffer import Buffer
from zarr.storage import LocalStore

#: Names that files have while they are written: that of the file, the machine, the process, and a part of chance.
_TEMPORARY = re.compile(r"(?P<file>.+)\.(?P<machine>[0-9a-f]{8})\.(?P<process>\d+)\.(?P<chance>[0-9a-f]{16})\.partial")
#: What file systems say that know no such thing for folders.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
_COUNTER = itertools.count()
#: Files that are forced to the disk at a time: the system then does it for all of them at once.
_TOGETHER = 4
_SETTLING = threading.Lock()


class WholeFiles(LocalStore):
    """Zarr's store of a local directory, for writing: see this module."""

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._settled: set[Path] = set()
        self._waiting: deque[Path] = deque()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore) and self.root == other.root

    __hash__ = None  # type: ignore[assignment]

    async def _open(self, **options: Any) -> None:
        if not self.read_only:
            await asyncio.to_thread(make_folder, self.root)
        await super()._open(**options)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object; it is on the disk when this returns."""
        await self._put(key, value)

    async def set_unsettled(self, key: str, value: Buffer) -> None:
        """Write an object that does not count yet; it is on the disk when `settle` has returned."""
        await self._put(key, value, forced=False)
        self._waiting.append(self.root / key)

    def write_unsettled(self, key: str, pieces: Sequence[bytes]) -> None:
        """`set_unsettled` in this thread, of pieces that are written one after the other."""
        self._check_writable()
        self._write(self.root / key, pieces, forced=False)
        self._waiting.append(self.root / key)

    def settle(self) -> None:
        """Force all that was written unsettled to the disk."""
        with _SETTLING:  # of two threads the second waits for what the first has taken
            files = list[Path]()
            while self._waiting:
                files.append(self._waiting.popleft())
            if files:
                with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="tsl-sync") as threads:
                    deque(threads.map(_sync_file, files), maxlen=0)
                    deque(threads.map(sync_folder, dict.fromkeys(file.parent for file in files)), maxlen=0)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless it is there."""
        with contextlib.suppress(FileExistsError):
            await self._put(key, value, exclusive=True)

    def set_sync(self, key: str, value: Buffer) -> None:
        """`set`, for the versions of Zarr that ask for it outside of an event loop."""
        self._check_writable()
        self._write(self.root / key, [value.as_numpy_array().data])

    async def delete(self, key: str) -> None:
        """Delete an object or a folder, and force it to the disk that it is gone."""
        await super().delete(key)
        await asyncio.to_thread(self._forget, self.root / key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete a folder, and force it to the disk that it is gone."""
        self._check_writable()
        folder = self.root / prefix
        if folder.is_dir():
            await asyncio.to_thread(shutil.rmtree, folder)
            await asyncio.to_thread(self._forget, folder)

    async def _put(self, key: str, value: Buffer, **how: bool) -> None:
        await self._ensure_open()
        self._check_writable()
        await asyncio.to_thread(self._write, self.root / key, [value.as_numpy_array().data], **how)

    def _write(self, path: Path, pieces: Sequence[bytes | memoryview], **how: bool) -> None:
        for last in (False, True):
            self._settle(path.parent)
            try:
                with whole_file(path, **how) as file:
                    file.writelines(pieces)
                return
            except FileNotFoundError:  # another process deleted the folder
                if last:
                    raise
                self._settled.clear()

    def _settle(self, folder: Path) -> None:
        """Make a folder, and force its name to the disk; done once for each."""
        if folder in self._settled:
            return
        make_folder(folder)
        if folder != self.root:  # one that is there may have been made just before a kill
            self._settle(folder.parent)
            sync_folder(folder.parent)
        self._settled.add(folder)

    def _forget(self, path: Path) -> None:
        self._settled.clear()
        sync_folder(path.parent)


@contextlib.contextmanager
def whole_file(path: Path, *, exclusive: bool = False, forced: bool = True) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when all is written and on the disk.

    Args:
        path: its name, in a folder that is there.
        exclusive: whether a file that is there is kept.
        forced: whether it is forced to the disk; else a loss of power can leave it empty, cut or absent.

    Raises:
        FileExistsError: one is there, with ``exclusive``.
        OSError: it cannot be written; nothing is left of it.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        with open(temporary, "xb") as file:
            yield file
            if forced:
                file.flush()
                os.fsync(file.fileno())
        if not exclusive:
            os.replace(temporary, path)
        elif os.name == "nt":  # where a rename replaces nothing
            os.rename(temporary, path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if forced:
        sync_folder(path.parent)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are absent, and force their names to the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk, where the system can do so; one that is gone has none."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def temporary_name(name: str) -> str:
    """A name for a file while it is written, which tells whose it is."""
    return f"{name}.{_machine()}.{os.getpid()}.{_process(os.getpid())}{next(_COUNTER) % 2**32:08x}.partial"


def written_file(temporary: str) -> str | None:
    """The name that a file is to get whose own name is of `temporary_name`; None for other names."""
    found = _TEMPORARY.fullmatch(temporary)
    return found["file"] if found else None


def writer_lives(temporary: str) -> bool | None:
    """Whether the process lives that writes a file of such a name; None if that is not known on this machine."""
    found = _TEMPORARY.fullmatch(temporary)
    if found is None or found["machine"] != _machine() or os.name != "posix":
        return None
    process = int(found["process"])
    if process == os.getpid():  # or one before it that had the same number
        return found["chance"].startswith(_process(process))
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


@functools.cache
def _machine() -> str:
    """Where a process number is one process alone: this boot of a machine, and in it of a container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


@functools.cache
def _process(number: int) -> str:
    """By chance; ``number``: of this process, as a fork has one of its own."""
    return secrets.token_hex(4)
