"""Arrays that are read a part at a time, wherever they lie, in numbers that a loss store can hold."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arguments import kind_of
from ..errors import StoreError

#: A slice, a number, or one of them for each dimension.
Index = Any
#: The way out for arrays that are no losses, by the kind of their dtype.
_CURES = {
    "O": "make every row as long as the others and every value a number, then save it as float32",
    "U": "convert the text to numbers, then save it as float32",
    "S": "convert the text to numbers, then save it as float32",
    "T": "convert the text to numbers, then save it as float32",
    "c": "save its real part as float32, if that is the loss",
    "i": "save it as float32 if these are losses in nat; token ids go to --tokens",
    "u": "save it as float32 if these are losses in nat; token ids go to --tokens",
    "b": "a mask is no loss; set the losses it leaves out to NaN",
}


@dataclasses.dataclass(frozen=True)
class SourceArray:
    """An array somewhere, of which parts are read.

    Attributes:
        name: what messages call it.
        shape: of the array.
        dtype: of what is read.
        get: reads a part; it may be of a dtype that NumPy has not, such as bfloat16.
        dims: names of its dimensions, if they are known.
        columns: how many of the last dimension are read at a time fastest; 0: all.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    get: Callable[[Index], Any]
    dims: tuple[Any, ...] | None = None
    columns: int = 0

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Index) -> np.ndarray:
        return plain(self.get(index))


def plain_dtype(dtype: Any) -> np.dtype:
    """The dtype in which values of another are kept, exactly: float32 for bfloat16, this machine's order of bytes."""
    if kind_of(dtype) == "f" and str(np.dtype(dtype).newbyteorder("=")) not in ("float16", "float32", "float64"):
        return np.dtype(np.float64 if dtype == np.longdouble else np.float32)
    return np.dtype(dtype).newbyteorder("=")


def plain(values: Any) -> np.ndarray:
    """An array of NumPy's in that dtype; masked values are NaN."""
    if isinstance(values, np.ma.MaskedArray):
        from ...arguments import unmasked

        values = unmasked("losses", values)
    values = np.asarray(values)
    return values.astype(plain_dtype(values.dtype), copy=False)


def of_numpy(name: str, values: np.ndarray) -> SourceArray:
    """An array in memory."""
    return SourceArray(name, values.shape, plain_dtype(values.dtype), lambda index: values[index])


def check_losses(array: SourceArray) -> None:
    """Raise unless an array may hold losses.

    Raises:
        StoreError: its dtype, and the way out.
    """
    kind = kind_of(array.dtype)
    if kind != "f":
        cure = _CURES.get(kind, "save it as float32")
        raise StoreError(
            f"{array.name}: got dtype {array.dtype}, expected losses of float16, bfloat16, float32 or float64; {cure}"
        )
