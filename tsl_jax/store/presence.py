"""Which objects of a store are there, how large they are and whether they changed: one listing, no request a chunk."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore, MemoryStore, ObjectStore, WrapperStore, ZipStore

from .absent import bad_chunk
from .errors import BadChunk, storage_errors
from .event_loop import wait_for
from .local_objects import LocalObjects, Stored, files_below

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


def each_of(objects: Objects, folder: str, names: Sequence[str]) -> list[Stored | None]:
    """Some objects of a folder; None of those that are not there."""
    if isinstance(objects, LocalObjects):
        return objects.each_of(folder, names)
    return [objects.get(f"{folder}/{name}" if folder else name) for name in names]


def sizes_of(objects: Objects, folder: str, names: Sequence[str]) -> list[int]:
    """Bytes of some objects of a folder, -1 of those that are not there or of a size that the listing does not tell."""
    if isinstance(objects, LocalObjects):
        return objects.sizes_of(folder, names)
    found = each_of(objects, folder, names)
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
        yield from files_below(store.root, prefix)
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

    def in_a_row(self, places: Sequence[str]) -> tuple[str, Sequence[str]]:
        """The folder of objects that hold the first column, and their names in it, by their places along the rows."""
        some = 123_456_789  # the encoding is Zarr's, and takes a microsecond
        before, _, after = f"{self._prefix}{self._encode((some, 0)[: self._ndim])}".rpartition(str(some))
        folder, _, begin = before.rpartition("/")
        return folder, [f"{begin}{place}{after}" for place in places] if begin or after else places
