"""Arrays of other libraries, by what they can do: none of them is imported here."""

from typing import Any

import numpy as np

from ..errors import StoreError
from .source_array import SourceArray, plain_dtype


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of PyTorch."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def of_tensor(name: str, tensor: Any) -> SourceArray:
    """A tensor of PyTorch, on any device.

    Raises:
        StoreError: it is sparse.
    """
    tensor = tensor.detach()
    if str(tensor.layout) != "torch.strided":
        raise StoreError(f"{name}: is a sparse tensor, expected a dense one; convert it with tensor.to_dense()")
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind.startswith(("bfloat", "float8")):
        kind = "float32"
    return SourceArray(name, tuple(tensor.shape), np.dtype(kind), lambda index: _numpy(tensor[index]))


def _numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.cpu()
    kind = str(tensor.dtype)
    return (tensor.float() if kind.startswith(("torch.bfloat", "torch.float8")) else tensor).numpy()


def of_array(name: str, array: Any) -> SourceArray:
    """An array of NumPy, JAX or Dask, or a variable of xarray: what has a shape, a dtype and parts."""
    if is_tensor(array):
        return of_tensor(name, array)
    dtype = np.dtype(array.dtype) if not isinstance(array.dtype, np.dtype) else array.dtype
    return SourceArray(name, tuple(array.shape), plain_dtype(dtype), lambda index: _plain_part(array[index]))


def _plain_part(part: Any) -> Any:
    return part if isinstance(part, np.ndarray) else np.asarray(part)
