"""Files of arrays: NumPy's, PyTorch's and safetensors', opened by name and read a part at a time."""

import contextlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import StoreError
from .source_array import Index, SourceArray, plain_dtype
from .tensors import of_tensor

#: What a file's only array is called that has no name of its own.
ONLY = "losses"


def open_file(path: Path) -> dict[str, SourceArray]:
    """The arrays of a file by name; that of a file that holds one array is called ``losses``.

    Raises:
        StoreError: the file is damaged, of another kind, or needs a package that is not installed.
    """
    try:
        return FILES[path.suffix.lower()](path)
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file; check the path") from error
    except Exception as error:  # each reader has errors of its own; all of them mean "not readable"
        said = str(error).splitlines()[0][:200] if str(error) else ""
        objects = "Object arrays" in said or "Python objects" in said
        cure = "write the array with dtype float32" if objects else "write the file again"
        what = "holds an array of Python objects" if objects else f"cannot be read ({said})"
        raise StoreError(f"{path}: {what}, expected arrays of numbers; {cure}") from error


def _npy(path: Path) -> dict[str, SourceArray]:
    with _mapped(path) as array:
        columns = int(array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous)
        return {ONLY: SourceArray(str(path), array.shape, plain_dtype(array.dtype), _NpyReader(path), None, columns)}


class _NpyReader:
    """Maps the file for each part, so that no number of files is too large."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, index: Index) -> np.ndarray:
        with _mapped(self._path) as array:
            return np.array(array[index])


@contextlib.contextmanager
def _mapped(path: Path):
    if path.stat().st_size == 0:
        raise StoreError(f"{path}: is empty; write it again with numpy.save")
    yield np.load(path, mmap_mode="r")


def _npz(path: Path) -> dict[str, SourceArray]:
    found = {}
    with zipfile.ZipFile(path) as file:
        for info in file.infolist():
            if not info.filename.endswith(".npy"):
                continue
            name = info.filename.removesuffix(".npy")
            with file.open(info) as member:
                shape, fortran, dtype = _header(member)
            if dtype.hasobject or dtype.kind in "USV":
                text = np.load(path)[name] if dtype.kind == "U" else None
                if text is None:
                    continue
                found[name] = SourceArray(f"{path}[{name}]", shape, dtype, text.__getitem__)
                continue
            stored = info.compress_type == zipfile.ZIP_STORED
            reader = _Stored(path, info, shape, fortran, dtype) if stored else _Packed(path, info, shape, fortran)
            columns = int(fortran and len(shape) > 1)
            found[name] = SourceArray(f"{path}[{name}]", shape, plain_dtype(dtype), reader, None, columns)
    return found


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


class _Stored:
    """An array of an uncompressed file, mapped."""

    def __init__(self, path: Path, info: zipfile.ZipInfo, shape: Any, fortran: bool, dtype: np.dtype) -> None:
        with open(path, "rb") as file:
            file.seek(info.header_offset + 26)  # a member's header ends with the lengths of its name and extra field
            lengths = np.frombuffer(file.read(4), "<u2")
            file.seek(info.header_offset + 30 + int(lengths.sum()))
            _header(file)
            self._where: dict[str, Any] = {"offset": file.tell(), "shape": shape, "order": "F" if fortran else "C"}
        self._path, self._dtype, self._shape = path, dtype, shape

    def __call__(self, index: Index) -> np.ndarray:
        if 0 in self._shape or not self._shape:
            with np.load(self._path) as file, contextlib.suppress(KeyError):
                return file[ONLY][index]
        return np.array(np.memmap(self._path, self._dtype, "r", **self._where)[index])


class _Packed:
    """An array of a compressed file, read from its beginning on: a part that follows the last is read at once."""

    def __init__(self, path: Path, info: zipfile.ZipInfo, shape: tuple[int, ...], fortran: bool) -> None:
        self._path, self._name, self._shape, self._fortran = path, info.filename, shape, fortran
        self._stream: BinaryIO | None = None
        self._row = 0

    def __call__(self, index: Index) -> np.ndarray:
        rows, others = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if not self._shape or self._fortran or not isinstance(rows, slice):
            return np.load(self._path)[self._name.removesuffix(".npy")][index]
        start, stop, _ = rows.indices(self._shape[0])
        values = self._rows(start, max(start, stop))
        return values[(slice(None), *others)]

    def _rows(self, start: int, stop: int) -> np.ndarray:
        if self._stream is None or start < self._row:
            self._open()
        assert self._stream is not None
        row = int(np.prod(self._shape[1:], dtype=np.int64)) * self._dtype.itemsize
        while self._row < start:
            skipped = min(start - self._row, max(1, 2**22 // max(1, row)))
            self._stream.read(skipped * row)
            self._row += skipped
        content = self._stream.read((stop - start) * row)
        self._row = stop
        if stop >= self._shape[0]:
            self._close()
        return np.frombuffer(content, self._dtype).reshape(stop - start, *self._shape[1:])

    def _open(self) -> None:
        self._close()
        self._file = zipfile.ZipFile(self._path)
        self._stream = self._file.open(self._name)  # type: ignore[assignment]
        _, _, self._dtype = _header(self._stream)
        self._row = 0

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._file.close()
            self._stream = None


def _safetensors(path: Path) -> dict[str, SourceArray]:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise StoreError(f"{path}: needs the package safetensors. Install it with: pip install safetensors") from error
    found = {}
    with safe_open(path, framework="np") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            part = file.get_slice(name)
            shape = tuple(part.get_shape())
            dtype = plain_dtype(file.get_tensor(name).dtype if 0 in shape or not shape else part[:1].dtype)
            found[name] = SourceArray(f"{path}[{name}]", shape, dtype, _SliceReader(path, name, shape))
    return found


class _SliceReader:
    """Opens the file for each part."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]) -> None:
        self._path, self._name, self._shape = path, name, shape

    def __call__(self, index: Index) -> np.ndarray:
        from safetensors import safe_open

        with safe_open(self._path, framework="np") as file:
            if not self._shape:
                return file.get_tensor(self._name)[index]
            return file.get_slice(self._name)[index]


def _torch(path: Path) -> dict[str, SourceArray]:
    try:
        import torch
    except ImportError as error:
        raise StoreError(f"{path}: needs PyTorch. Install it with: pip install torch") from error
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    try:
        held = torch.load(path, mmap=True, **options)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        held = torch.load(path, **options)  # files of PyTorch before 1.6 cannot be mapped
    if not isinstance(held, Mapping):
        held = {ONLY: held}
    tensors = {str(name): torch.as_tensor(value) for name, value in held.items() if _is_number(value)}
    if not tensors:
        raise StoreError(f"{path}: holds no tensors, expected one of losses or a dictionary of them by name")
    return {name: of_tensor(f"{path}[{name}]", value) for name, value in tensors.items()}


def _is_number(value: Any) -> bool:
    return hasattr(value, "detach") or (isinstance(value, int | float) and not isinstance(value, bool))


#: Readers of files of arrays, by ending.
FILES: Mapping[str, Callable[[Path], dict[str, SourceArray]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}
