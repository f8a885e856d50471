"""Files of arrays: NumPy's, PyTorch's and safetensors', opened by name and read a part at a time."""

import contextlib
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from ..refusals import readable
from .npz import open_npz
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
        with readable():
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
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise StoreError(f"{path}: needs PyTorch. Install it with: pip install torch") from error
    held = _loaded(torch, path)
    if not isinstance(held, Mapping):
        held = {ONLY: held}
    tensors = {str(name): torch.as_tensor(value) for name, value in held.items() if _is_number(value)}
    if not tensors:
        raise StoreError(f"{path}: holds no tensors, expected one of losses or a dictionary of them by name")
    return {name: of_tensor(f"{path}[{name}]", value) for name, value in tensors.items()}


def _loaded(torch: Any, path: Path) -> Any:
    """What a file holds, its tensors mapped where it is of a kind that can be."""
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files of other programs, which are refused below
        try:
            try:
                return torch.load(path, mmap=True, **options)
            except RuntimeError as error:
                if "mmap" not in str(error):
                    raise
                return torch.load(path, **options)  # files of PyTorch before 1.6 cannot be mapped
        except pickle.UnpicklingError as error:
            raise StoreError(
                f"{path}: holds Python objects, which are not loaded, as they may run code; write tensors alone: "
                "torch.save({'losses': losses}, path)"
            ) from error


def _is_number(value: Any) -> bool:
    return hasattr(value, "detach") or (isinstance(value, int | float) and not isinstance(value, bool))


#: Readers of files of arrays, by ending.
FILES: Mapping[str, Callable[[Path], dict[str, SourceArray]]] = {
    ".npy": _npy,
    ".npz": open_npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}
