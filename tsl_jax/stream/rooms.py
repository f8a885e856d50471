"""Memory for blocks that is used again: mapped anew for each, every page of it would first be cleared."""

from typing import Any

import numpy as np

#: Host memory that begins at a multiple of so many bytes is used by a CPU device as it is. Other memory JAX copies, on
#: the threads that its programs run on: a block would be there only when the one before is fitted on all devices.
ALIGNMENT = 64


class Rooms:
    """Arrays of one size, whose memory goes to the next one when nobody has the last one or a part of it any more."""

    def __init__(self) -> None:
        self._free = list[np.ndarray]()

    def room(self, shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
        """An array whose values are not set, at a multiple of `ALIGNMENT` in memory; from any thread."""
        size = shape[0] * shape[1] * dtype.itemsize
        memory = np.asarray(_Held(self._memory(size + ALIGNMENT), self._free))
        start = -memory.ctypes.data % ALIGNMENT
        return memory[start : start + size].view(dtype).reshape(shape)

    def _memory(self, size: int) -> np.ndarray:
        while True:
            try:
                memory = self._free.pop()
            except IndexError:
                return np.empty(size, np.uint8)
            if memory.size == size:
                return memory


class _Held:
    """Memory that is given back when the last array that looks at it is gone.

    NumPy's views of an array hold on to the array that owns the memory, not to the one that they are a part of; of
    memory that no array owns, to the whole.
    """

    def __init__(self, memory: np.ndarray, free: list[np.ndarray]) -> None:
        self._memory, self._free = memory, free

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._memory.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._memory)
