"""Arrays of ``.npz`` files, a part at a time: mapped where they are stored as they are, else inflated."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from .source_array import Index, SourceArray, plain_dtype

#: Bytes of a compressed file that are read at a time.
_READ = 2**18


def open_npz(path: Path) -> dict[str, SourceArray]:
    """The arrays of a file by name; those of Python objects are left out.

    Raises:
        StoreError: an array is said to be larger than what the file holds.
        ValueError: all arrays are of Python objects.
    """
    found, objects = {}, False
    with zipfile.ZipFile(path) as file:
        for info in file.infolist():
            if not info.filename.endswith(".npy"):
                continue
            name = info.filename.removesuffix(".npy")
            with file.open(info) as member:
                shape, fortran, dtype = _header(member)
                header = member.tell()
            label = f"{path}[{name}]"
            objects |= dtype.hasobject
            size = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and (min(shape, default=0) < 0 or header + size != info.file_size):
                raise StoreError(
                    f"{label}: is said to have shape {shape} and dtype {dtype}, {size:,} bytes, and has "
                    f"{info.file_size - header:,}; the file is damaged, write it again"
                )
            if dtype.kind in "iufb":
                columns = int(fortran and len(shape) > 1)
                reader = _reader(path, name, info, header, (shape, fortran, dtype))
                found[name] = SourceArray(label, shape, plain_dtype(dtype), reader, None, columns)
            elif not dtype.hasobject:
                found[name] = SourceArray(label, shape, dtype, _Whole(path, name))
    if objects and not found:
        raise ValueError("Object arrays alone")
    return found


def _reader(path: Path, name: str, info: zipfile.ZipInfo, header: int, kind: Any) -> Any:
    shape, fortran, dtype = kind
    if not shape or 0 in shape:
        return _Whole(path, name)
    if info.compress_type == zipfile.ZIP_STORED:
        where = {"offset": _content_of(path, info) + header, "shape": shape, "order": "F" if fortran else "C"}
        return lambda index: np.array(np.memmap(path, dtype, "r", **where)[index])
    if info.compress_type == zipfile.ZIP_DEFLATED and not fortran:
        return _Inflated(path, (_content_of(path, info), header, info.CRC), (shape, dtype))
    return _Whole(path, name)


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _content_of(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the content of a member begins: after a header that ends with a name and an extra field."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        return info.header_offset + 30 + int(np.frombuffer(file.read(4), "<u2").sum())


class _Whole:
    """An array that is read whole for each part."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __call__(self, index: Index) -> np.ndarray:
        try:
            with np.load(self._path) as file:
                return file[self._name][index]
        except MemoryError as error:
            raise StoreError(
                f"{self._path}: its array {self._name} is too large for this machine's memory ({error}); write it by "
                "numpy.savez, which can be read in parts"
            ) from error


class _Inflated:
    """A compressed array, inflated from its beginning on: a part that follows the last one costs no more than itself.

    The file is opened for each part, so that no number of files is too large.
    """

    def __init__(self, path: Path, place: tuple[int, int, int], kind: tuple[tuple[int, ...], np.dtype]) -> None:
        self._path, (self._begin, self._header, self._checksum) = path, place
        self._shape, self._dtype = kind
        self._row = int(np.prod(self._shape[1:], dtype=np.int64)) * self._dtype.itemsize
        self._rewind()

    def __call__(self, index: Index) -> np.ndarray:
        rows, *others = index if isinstance(index, tuple) else (index,)
        if rows is Ellipsis:
            rows = slice(None)
        start, stop, _ = rows.indices(self._shape[0])
        return self._rows(start, max(start, stop))[(slice(None), *others)]

    def _rewind(self) -> None:
        self._inflate, self._left, self._compressed = zlib.decompressobj(-15), b"", self._begin
        self._done, self._crc = 0, 0

    def _rows(self, start: int, stop: int) -> np.ndarray:
        first, last = (self._header + row * self._row for row in (start, stop))
        if first < self._done:
            self._rewind()
        with open(self._path, "rb") as file:
            file.seek(self._compressed)
            while self._done < first:
                self._next(file, min(first - self._done, 2**22))
            content = bytearray()
            while len(content) < last - first:
                content += self._next(file, last - first - len(content))
        return np.frombuffer(content, self._dtype).reshape(stop - start, *self._shape[1:])

    def _next(self, file: Any, most: int) -> bytes:
        """Up to so many bytes more."""
        if not self._left:
            self._left = file.read(_READ)
            self._compressed += len(self._left)
            if not self._left:
                raise StoreError(f"{self._path}: ends before its array does; the file was cut off, write it again")
        found = self._inflate.decompress(self._left, most)
        self._left = self._inflate.unconsumed_tail
        self._done += len(found)
        self._crc = zlib.crc32(found, self._crc)
        if self._inflate.eof and self._crc != self._checksum:
            raise StoreError(f"{self._path}: is damaged, its checksum is another; copy or write it again")
        if not found and self._inflate.eof:
            raise StoreError(f"{self._path}: ends before its array does; the file was cut off, write it again")
        return found
