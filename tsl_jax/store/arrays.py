"""Making the arrays of a store: every one carries a checksum, and every chunk that is written is stored."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.buffer import default_buffer_prototype
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import StorePath, WrapperStore

from .event_loop import wait_for
from .local_files import WholeFiles

#: Zarr leaves out chunks that hold nothing but the fill value; here absence is loss, and they are written.
_STORE_ALL: Any = {"write_empty_chunks": True}


def storing_all(array: zarr.Array, store: Any = None) -> zarr.Array:
    """The same array, whose chunks are stored whatever they hold; in ``store``, by default its own."""
    place = StorePath(array.store if store is None else store, array.path)
    metadata: Any = array.metadata
    return zarr.Array(zarr.AsyncArray(metadata, place, _STORE_ALL))


class WholeWrites(WrapperStore):
    """A store for arrays whose stored objects are only written whole: they seem absent, and their sizes are kept.

    Zarr reads a shard before it writes any of it, all of it too; one that a crash left damaged could then not be
    replaced. On a local disk they wait for `settle`, before which they must not count.

    Attributes:
        bytes_of: size of each object that was written, by key.
    """

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.bytes_of: dict[str, int] = {}

    def __str__(self) -> str:
        return str(self._store)  # what messages call it

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        """Nothing: what is there is about to be replaced."""
        return None

    async def set(self, key: str, value: Any) -> None:
        """As the store's own; Zarr runs them all in one event loop, so that no lock is needed."""
        put = self._store.set_unsettled if isinstance(self._store, WholeFiles) else self._store.set
        await put(key, value)
        self.bytes_of[key] = len(value)

    def write(self, key: str, pieces: Sequence[bytes]) -> None:
        """Write an object in pieces, from any thread."""
        if isinstance(self._store, WholeFiles):
            self._store.write_unsettled(key, pieces)
        else:
            content = default_buffer_prototype().buffer.from_bytes(b"".join(pieces))
            wait_for(self._store.set(key, content))
        self.bytes_of[key] = sum(map(len, pieces))

    def settle(self) -> None:
        """Return when all that was written is on the disk."""
        if isinstance(self._store, WholeFiles):
            self._store.settle()


def create_array(group: zarr.Group, name: str, *, values: np.ndarray | None = None, **options: Any) -> zarr.Array:
    """An array of a group, in Zstandard and with a checksum; with ``values`` it holds them.

    Args:
        group: of format 3.
        name: in the group.
        values: what it holds.
        **options: as `zarr.Group.create_array` takes them; ``shape`` and ``dtype`` where there are no values.
    """
    if "compressors" not in options:
        options["compressors"] = zstd(np.dtype(options["dtype"] if values is None else values.dtype))
    if values is not None:
        # given whole, an array of no elements would have chunks of none, which no reader takes
        chunks = options.pop("chunks", tuple(max(1, size) for size in values.shape))
        options |= {"data": values, "chunks": chunks}
    return group.create_array(name, **{"config": _STORE_ALL, **options})


def zstd(dtype: np.dtype) -> list[Any]:
    """Compression of numbers, and a checksum of all stored bytes.

    The digits of floating-point numbers are noise but for the first: level 1 makes fits an eighth smaller than level
    -7, which hands most of them on as they are, and takes twice the time.
    """
    return [ZstdCodec(level=-7 if dtype.kind == "f" else 1), Crc32cCodec()]


def bitshuffled(level: int) -> list[Any]:
    """Compression of losses, and a checksum of all stored bytes."""
    return [BloscCodec(cname="zstd", clevel=level, shuffle="bitshuffle"), Crc32cCodec()]


def has_checksum(array: zarr.Array) -> bool:
    """Whether every flipped bit of an array's chunks is seen when they are read."""
    return any(_is_checksum(codec) for codec in array.metadata.to_dict().get("codecs", ()))  # type: ignore[union-attr]


def _is_checksum(codec: Any) -> bool:
    settings = codec.get("configuration") or {}
    if codec.get("name") == "sharding_indexed":
        return all(any(map(_is_checksum, settings.get(part, ()))) for part in ("codecs", "index_codecs"))
    return codec.get("name") in ("crc32c", "numcodecs.crc32c", "numcodecs.crc32", "numcodecs.fletcher32") or (
        codec.get("name") == "zstd" and settings.get("checksum") is True
    )
