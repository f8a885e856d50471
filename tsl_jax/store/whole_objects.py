"""Stored objects of arrays along tokens, made whole without Zarr: the same bytes for a third of its time, or a half.

Zarr takes a millisecond for every chunk beside its compression, under the interpreter's lock and by way of its event
loop. What is made here are objects that are written whole, of one-dimensional arrays with the codecs of `create_array`;
all others are left to Zarr.

Source: Zarr specification, version 3, with the codecs bytes, zstd, crc32c and sharding_indexed.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd

#: What the index of a shard says of a chunk that it does not hold.
_NOT_THERE = 2**64 - 1


class WholeObjects:
    """The stored objects of an array; `of` tells whether it is of the kind that is known here."""

    def __init__(self, array: zarr.Array, level: int) -> None:
        self._array, self._chunk = array, array.chunks[0]
        self._stored = (array.shards or array.chunks)[0]
        self._compression = Zstd(level=level)

    @classmethod
    def of(cls, array: zarr.Array) -> "WholeObjects | None":
        """For an array, or None where its metadata are of another kind."""
        metadata: Any = array.metadata.to_dict()
        codecs = list(metadata.get("codecs") or ())
        known = metadata.get("zarr_format") == 3 and not metadata.get("storage_transformers") and array.ndim == 1
        if not known or array.dtype.kind not in "iufb" or not array.dtype.isnative or sys.byteorder != "little":
            return None
        if array.shards is not None:
            codecs = _codecs_in_shards(codecs, array.chunks)
        level = _level(codecs)
        return None if level is None else cls(array, level)

    def made(self, start: int, values: np.ndarray) -> Iterator[tuple[str, list[bytes]]] | None:
        """Key and content, in pieces, of each object of some rows, in order; None where they are not whole objects.

        Args:
            start: the first row.
            values: the rows, in the array's dtype.
        """
        stop = start + len(values)
        if start % self._stored or (stop % self._stored and stop != self._array.shape[0]):
            return None
        return self._made(start, values)

    def _made(self, start: int, values: np.ndarray) -> Iterator[tuple[str, list[bytes]]]:
        for first in range(0, len(values), self._stored):
            place = (start + first) // self._stored
            key = f"{self._array.path}/{self._array.metadata.encode_chunk_key((place,))}".lstrip("/")
            rows = values[first : first + self._stored]
            yield key, self._encoded(rows) if self._array.shards is None else self._shard(rows)

    def _encoded(self, rows: np.ndarray) -> list[bytes]:
        """A chunk, filled up where it has fewer rows, compressed, and its checksum."""
        if len(rows) < self._chunk:
            rows = np.concatenate([rows, np.full(self._chunk - len(rows), self._array.fill_value, rows.dtype)])
        content = self._compression.encode(np.ascontiguousarray(rows))
        return [content, _checksum(content)]

    def _shard(self, rows: np.ndarray) -> list[bytes]:
        """Chunks that have any rows, one after the other, and the index."""
        pieces, end = list[bytes](), 0
        index = np.full((self._stored // self._chunk, 2), _NOT_THERE, "<u8")
        for chunk, first in enumerate(range(0, len(rows), self._chunk)):
            encoded = self._encoded(rows[first : first + self._chunk])
            size = sum(map(len, encoded))
            index[chunk] = end, size
            pieces, end = pieces + encoded, end + size
        content = index.tobytes()
        return [*pieces, content, _checksum(content)]


def _checksum(content: bytes) -> bytes:
    return google_crc32c.value(content).to_bytes(4, "little")


def _codecs_in_shards(codecs: Sequence[Any], chunks: tuple[int, ...]) -> list[Any]:
    """The codecs of the chunks of a shard; none where the shard is not of the kind that is known."""
    settings = codecs[0].get("configuration") or {}
    index = [codec.get("name") for codec in settings.get("index_codecs", ())]
    known = len(codecs) == 1 and codecs[0].get("name") == "sharding_indexed" and index == ["bytes", "crc32c"]
    known = known and tuple(settings.get("chunk_shape", ())) == chunks and _is_little(settings["index_codecs"][0])
    return list(settings.get("codecs", ())) if known and settings.get("index_location", "end") == "end" else []


def _level(codecs: Sequence[Any]) -> int | None:
    """Of compression by Zstandard between plain bytes and a checksum; None of other codecs."""
    if [codec.get("name") for codec in codecs] != ["bytes", "zstd", "crc32c"] or not _is_little(codecs[0]):
        return None
    settings = codecs[1].get("configuration") or {}
    return settings.get("level", 0) if not settings.get("checksum") else None


def _is_little(codec: Any) -> bool:
    return (codec.get("configuration") or {}).get("endian", "little") in ("little", None)
