"""A block of a loss store read, decoded and brought to the devices, each timed.

Where the package zarrs is installed and knows the codecs, it reads and decodes whole shards of local directories, in
some half of the processor's time; what it does is then all counted as decoding.
"""

import dataclasses
import importlib
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
import zarr
from zarr.storage import LocalStore, StorePath, WrapperStore

from ..store import BadChunk, ChunkError, InputDigest, LossStore, block_digest, read_rows_with_gaps
from ..store.presence import Objects
from .plan import Block
from .stages import Stopwatch


@dataclasses.dataclass(frozen=True)
class Input:
    """A block that is ready to be fitted.

    Attributes:
        block: which.
        losses: (rows, checkpoints) on the devices, padded.
        coordinates: (tokens,) by name.
        digest: of the losses and coordinates; see `tsl_jax.store.fingerprint`.
        bad: chunks that could not be read.
        seconds: by stage.
    """

    block: Block
    losses: Any
    coordinates: dict[str, np.ndarray]
    digest: InputDigest
    bad: tuple[BadChunk, ...]
    seconds: dict[str, float]


class BlockReader:
    """Reads blocks, in several threads if need be, each with a view of the store of its own that times its requests.

    Args:
        losses: where to read.
        put: brings losses (tokens, checkpoints) to the devices; may return before they are there.
        on_bad_chunk: whether a chunk that cannot be read is an error, or only its tokens are lost.
        objects: the store's objects as they were listed, for the digests.
        room: an array (rows, checkpoints) for a block's losses, padded, as ``put`` takes it without a copy.
    """

    def __init__(
        self,
        losses: LossStore,
        put: Callable[[np.ndarray], Any],
        on_bad_chunk: Literal["stop", "skip"] = "stop",
        objects: Objects | None = None,
        room: Callable[[], np.ndarray] | None = None,
    ) -> None:
        self._losses, self._put, self._objects, self._room = losses, put, objects, room
        self._skip = on_bad_chunk == "skip"
        self._own = threading.local()
        self._arrays = {"losses": losses.losses, **losses.token_coordinates}
        fast = {name: _with_zarrs(array) for name, array in self._arrays.items()}
        self._fast = {name: array for name, array in fast.items() if array is not None}

    def __call__(self, block: Block) -> Input:
        """Read one block; raises `ChunkError` where chunks cannot be read and that is an error."""
        watch, store = Stopwatch(), self._timed_store()
        before = store.seconds
        with watch.timing("decode"):
            padded = None if self._room is None else self._room()
            if padded is not None and padded.dtype != self._losses.losses.dtype:
                padded = None
            rows, coordinates, bad = self._read(block, padded)
            digest = block_digest(self._losses, block.start, block.stop, rows, coordinates, self._objects)
        waited = store.seconds - before
        watch.add("read", waited)
        watch.add("decode", -waited)
        with watch.timing("transfer"):
            placed = jax.block_until_ready(self._put(_padded(rows, padded)))
        return Input(block, placed, coordinates, digest, tuple(bad), watch.seconds)

    def _read(
        self, block: Block, padded: np.ndarray | None
    ) -> tuple[np.ndarray, dict[str, np.ndarray], list[BadChunk]]:
        values: dict[str, np.ndarray] = {}
        bad: list[BadChunk] = []
        for name, array in self._own.arrays.items():
            into = padded[: block.stop - block.start] if padded is not None and name == "losses" else None
            fast = self._read_fast(name, block, into)
            if fast is not None:
                values[name] = fast
            elif self._skip:
                values[name], some = read_rows_with_gaps(
                    array, block.start, block.stop, absent=self._losses.absent(array)
                )
                bad += some
            else:
                values[name] = self._losses.read_array(array, block.start, block.stop, into)
        rows = values.pop("losses")
        if bad:
            rows = rows.copy()
        for gap in bad:  # a coordinate that is lost makes its tokens unreadable too: the status is what tells
            rows[gap.start - block.start : gap.stop - block.start] = np.nan
        return rows, values, bad

    def _read_fast(self, name: str, block: Block, into: np.ndarray | None) -> np.ndarray | None:
        """What zarrs reads, whole stored objects only: of parts of a chunk it does not check the checksum.

        None where it is not used, and where it fails: Zarr then says which chunk is bad.
        """
        array = self._fast.get(name)
        if array is None:
            return None
        rows = (array.shards or array.chunks)[0]
        if block.start % rows or block.stop % rows:
            return None
        try:
            return self._losses.read_array(array, block.start, block.stop, into)
        except ChunkError:
            return None

    def _timed_store(self) -> "_TimedStore":
        """The store of this thread; its arrays are made at the first call."""
        if not hasattr(self._own, "store"):
            self._own.store = _TimedStore(self._losses.losses.store)
            self._own.arrays = {name: zarr.Array(_at(array, self._own.store)) for name, array in self._arrays.items()}
        return self._own.store


def _padded(rows: np.ndarray, room: np.ndarray | None) -> np.ndarray:
    """A block's losses with all rows of the room that they were read into; as they are where they lie elsewhere."""
    if room is None or rows.ctypes.data != room.ctypes.data:
        return rows
    room[len(rows) :] = np.nan
    return room


def _at(array: zarr.Array, store: Any) -> zarr.AsyncArray:
    """The same array, read through another store."""
    return zarr.AsyncArray(array.metadata, StorePath(store, array.path))


def _with_zarrs(array: zarr.Array) -> zarr.Array | None:
    """The same array, read by zarrs; None without it, and for what it does not know."""
    if not isinstance(array.store, LocalStore) or not _is_known_to_zarrs(array):
        return None
    try:
        importlib.import_module("zarrs")
    except ImportError:
        return None
    plain = LocalStore(array.store.root, read_only=True)  # zarrs knows it by the name of its class
    # Zarr looks at its configuration when an array is made, and never again.
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of stores and codecs that it leaves to Zarr
        made = _at(array, plain)
    left_to_zarr = getattr(made.codec_pipeline, "impl", None) is None
    return None if left_to_zarr else zarr.Array(made)


def _is_known_to_zarrs(array: zarr.Array) -> bool:
    """Whether a metadata document is of the kinds that zarrs reads without ending the process at damaged ones."""
    metadata: Any = array.metadata.to_dict()
    codecs = metadata.get("codecs")
    if metadata.get("zarr_format") != 3 or not codecs or metadata.get("storage_transformers"):
        return False
    if any(size < 1 for size in (*array.shape, *array.chunks, *(array.shards or ()))) or array.dtype.kind not in "iufb":
        return False
    return _are_known(codecs)


def _are_known(codecs: Any) -> bool:
    for codec in codecs:
        name, settings = codec["name"], codec.get("configuration") or {}
        if name == "sharding_indexed":
            index = settings["index_codecs"]
            plain = [part["name"] for part in index] == ["bytes", "crc32c"] and _are_known(index)
            if not plain or settings.get("index_location", "end") != "end" or not _are_known(settings["codecs"]):
                return False
        elif name not in ("bytes", "blosc", "zstd", "gzip", "crc32c") or settings.get("endian", "little") != "little":
            return False
    return True


class _TimedStore(WrapperStore):
    """A store that adds up the seconds in which at least one of its requests was under way.

    Zarr runs the requests of all arrays in one event loop, so that no lock is needed.
    """

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.seconds, self._under_way, self._since = 0.0, 0, 0.0

    def __str__(self) -> str:
        return str(self._store)  # what messages call it

    async def get(self, *arguments: Any, **options: Any) -> Any:
        """As the store's own, timed."""
        return await self._timed(self._store.get(*arguments, **options))

    async def get_partial_values(self, *arguments: Any, **options: Any) -> Any:
        """As the store's own, timed."""
        return await self._timed(self._store.get_partial_values(*arguments, **options))

    async def _timed(self, request: Any) -> Any:
        if not self._under_way:
            self._since = time.perf_counter()
        self._under_way += 1
        try:
            return await request
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.seconds += time.perf_counter() - self._since
