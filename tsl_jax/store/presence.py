"""Which objects of a store are there, how large they are and whether they changed: one listing, no request a chunk."""

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore, MemoryStore, ObjectStore, WrapperStore, ZipStore

from .absent import bad_chunk
from .errors import BadChunk, storage_errors
from .event_loop import wait_for


class Stored(NamedTuple):
    """One stored object; a tuple, for a listing may have millions.

    Args:
        size: bytes; None where the listing does not say.
        tag: another one after every change (times of a file, the ETag of an object, the CRC of a file in a zip); None
            where the listing has none.
    """

    size: int | None
    tag: str | None


Objects = Mapping[str, Stored]


def list_objects(store: Store, prefix: str) -> Objects | None:
    """The objects below a prefix by key; None for a store that cannot be listed, or refuses to be."""
    try:
        return dict(each_object(store, prefix))
    except (*storage_errors(), NotImplementedError):
        return None


def each_object(store: Store, prefix: str) -> Iterator[tuple[str, Stored]]:
    """The objects below a prefix, in no order.

    Raises:
        NotImplementedError: the store cannot be listed.
    """
    while isinstance(store, WrapperStore):
        store = store._store
    if not store.supports_listing:
        raise NotImplementedError(f"{store}: cannot be listed")
    if isinstance(store, LocalStore):
        yield from _files(store.root, prefix)
    elif isinstance(store, ZipStore):
        with zipfile.ZipFile(store.path) as file:
            for entry in file.infolist():
                if entry.filename.startswith(f"{prefix}/" if prefix else ""):
                    yield entry.filename, Stored(entry.file_size, f"{entry.CRC}")
    elif isinstance(store, ObjectStore):
        yield from _of_object_store(store.store, prefix)
    else:
        sized = isinstance(store, MemoryStore)  # of others it would be a request a key
        for key in wait_for(_keys(store, f"{prefix}/" if prefix else "")):
            yield key, Stored(wait_for(store.getsize(key)) if sized else None, None)


async def _keys(store: Store, prefix: str) -> list[str]:
    return [key async for key in store.list_prefix(prefix)]


def _files(root: Path, prefix: str) -> Iterator[tuple[str, Stored]]:
    """Files of a directory and of what is linked there; one that is replaced meanwhile may be left out."""
    waiting, seen = [prefix], set()
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / place) as entries:
            for entry in entries:
                key = f"{place}/{entry.name}" if place else entry.name
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat()
                    if not entry.is_dir():
                        # the time of the last change of the inode cannot be set back, unlike that of the content
                        yield key, Stored(stat.st_size, f"{stat.st_mtime_ns}.{stat.st_ctime_ns}")
                    elif (stat.st_dev, stat.st_ino) not in seen:  # links may go round
                        seen.add((stat.st_dev, stat.st_ino))
                        waiting.append(key)


def _of_object_store(store: Any, prefix: str) -> Iterator[tuple[str, Stored]]:
    import obstore

    for batch in obstore.list(store, prefix=prefix or None):
        for entry in batch:
            yield entry["path"], Stored(entry["size"], f"{entry['e_tag']}.{entry['last_modified']}")


#: Lost chunks that are looked for: a store can claim more of them than there is time to name.
MOST_LOST = 10_000


def lost_chunks(array: zarr.Array, objects: Objects, start: int = 0, stop: int | None = None) -> list[BadChunk]:
    """Stored objects that rows ``start`` to ``stop`` of an array need, and that are absent or empty; the first ones."""
    found = []
    for key, first, last, column in chunk_keys(array, start, array.shape[0] if stop is None else stop):
        stored = objects.get(key)
        if stored is None:
            found.append(bad_chunk(array, first, last, "not stored", column, absent=True))
        elif stored.size == 0:
            found.append(bad_chunk(array, first, last, "its stored object is empty, 0 bytes", column))
        if len(found) == MOST_LOST:
            break
    return found


def chunk_keys(array: zarr.Array, start: int, stop: int) -> Iterator[tuple[str, int, int, int]]:
    """Key, first row, one past the last row and first column of the objects that hold some rows of an array."""
    if array.ndim not in (1, 2) or start >= stop:
        return
    stored = array.shards or array.chunks
    rows, width = stored[0], stored[1] if array.ndim > 1 else 1
    columns = -(-array.shape[1] // width) if array.ndim > 1 else 1
    prefix = f"{array.path}/" if array.path else ""
    for place in range(start // rows, -(-stop // rows)):
        for column in range(columns):
            key = array.metadata.encode_chunk_key((place, column)[: array.ndim])
            yield f"{prefix}{key}", place * rows, min((place + 1) * rows, array.shape[0]), column * width
