"""Which objects of a store are there, how large they are and whether they changed: one listing, no request a chunk."""

import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore, MemoryStore, ObjectStore, WrapperStore, ZipStore

from .absent import bad_chunk
from .errors import BadChunk, storage_errors
from .event_loop import wait_for
from .refusals import if_there


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
    """The objects below a prefix by key; None for a store that cannot be listed, or refuses to be.

    Raises:
        StoreError: a folder on this machine cannot be looked at.
    """
    try:
        return dict(each_object(store, prefix))
    except (*storage_errors(), NotImplementedError):
        return None


def find_objects(store: Store, prefix: str) -> Objects | None:
    """As `list_objects`, but files are looked at one by one as they are asked for: none of those that nobody needs."""
    return LocalObjects(store.root) if isinstance(store, LocalStore) else list_objects(store, prefix)


class LocalObjects(Mapping[str, Stored]):
    """The files of a directory by key, each as it is when it is asked for.

    Args:
        root: of the store.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def __getitem__(self, key: str) -> Stored:
        try:
            found = os.stat(f"{self._root}/{key}")
        except OSError as error:
            with if_there():
                raise
            raise KeyError(key) from error
        if stat.S_ISDIR(found.st_mode):
            raise KeyError(key)
        return _of_file(found)

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in _files(Path(self._root), ""))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def sizes(self, keys: Iterable[str]) -> list[int]:
        """Bytes of each file, -1 of those that are not there: a fraction of the time that all of `Stored` takes."""
        keys, look = list(keys), os.stat
        try:
            return [look(path).st_size for path in map(f"{self._root}/".__add__, keys)]
        except OSError:
            return _sizes(self, keys)


def sizes_of(objects: Objects, keys: Iterable[str]) -> list[int]:
    """Bytes of some objects, -1 of those that are not there or of a size that the listing does not tell."""
    if isinstance(objects, LocalObjects):
        return objects.sizes(keys)
    return _sizes(objects, keys)


def _sizes(objects: Objects, keys: Iterable[str]) -> list[int]:
    found = map(objects.get, keys)
    return [-1 if stored is None or stored.size is None else stored.size for stored in found]


def each_object(store: Store, prefix: str) -> Iterator[tuple[str, Stored]]:
    """The objects below a prefix, in no order.

    Raises:
        NotImplementedError: the store cannot be listed.
        StoreError: a folder on this machine cannot be looked at.
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
        with if_there(), os.scandir(root / place) as entries:
            for entry in entries:
                key = f"{place}/{entry.name}" if place else entry.name
                with if_there():
                    found = entry.stat()
                    if not entry.is_dir():
                        yield key, _of_file(found)
                    elif (found.st_dev, found.st_ino) not in seen:  # links may go round
                        seen.add((found.st_dev, found.st_ino))
                        waiting.append(key)


def _of_file(found: os.stat_result) -> Stored:
    # the time of the last change of the inode cannot be set back, unlike that of the content
    return Stored(found.st_size, f"{found.st_mtime_ns}.{found.st_ctime_ns}")


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
    yield from ChunkKeys(array)(start, stop)


class ChunkKeys:
    """`chunk_keys` of one array, asked for again and again.

    Args:
        array: of one dimension, or two; of others there are none.

    Attributes:
        rows: in a stored object.
    """

    def __init__(self, array: zarr.Array) -> None:
        stored, self._ndim = array.shards or array.chunks, array.ndim
        self.rows, self._width = stored[0] if stored else 1, stored[1] if self._ndim > 1 else 1
        self._shape, self._encode = array.shape, array.metadata.encode_chunk_key
        self._prefix = f"{array.path}/" if array.path else ""

    def __call__(self, start: int, stop: int) -> Iterator[tuple[str, int, int, int]]:
        """As `chunk_keys`."""
        if self._ndim not in (1, 2) or start >= stop:
            return
        columns = -(-self._shape[1] // self._width) if self._ndim > 1 else 1
        for place in range(start // self.rows, -(-stop // self.rows)):
            first, last = place * self.rows, min((place + 1) * self.rows, self._shape[0])
            for column in range(columns):
                key = self._encode((place, column)[: self._ndim])
                yield f"{self._prefix}{key}", first, last, column * self._width

    def in_a_row(self, places: range) -> Iterator[str]:
        """Keys of objects of an array of one dimension, by their numbers: they end with these."""
        first = f"{self._prefix}{self._encode((0,))}"
        return map(first.removesuffix("0").__add__, map(str, places))
