"""Matrices on the disk for what comes in another order than it is written in; gone when the process is."""

import tempfile
from pathlib import Path

import numpy as np

from ..errors import StoreError, writing


class Scratch:
    """A file without a name, of losses (rows, columns); open within ``with``.

    Args:
        folder: where; None: where temporary files lie.
        dtype: of the losses.
    """

    def __init__(self, folder: Path | None, dtype: np.dtype) -> None:
        place = next((part for part in (folder, *folder.parents) if part.is_dir()), None) if folder else None
        self._name = str(place or tempfile.gettempdir())
        self.dtype = np.dtype(dtype)
        with self._writing():
            self._file = tempfile.TemporaryFile(dir=place, prefix=".tsl-import-")  # noqa: SIM115 - closed by __exit__

    def _writing(self):
        again = "run the same command again; temporary files of the size of the losses lie there"
        return writing(self._name, "a temporary file", kept="Nothing is lost.", again=again)

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # what was mapped stays

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end."""
        with self._writing():
            self._file.write(np.ascontiguousarray(rows, self.dtype).data)

    def mapped(self, shape: tuple[int, ...], *, fill: float | None = None) -> np.ndarray:
        """The file as an array, enlarged and filled where ``fill`` is given."""
        if 0 in shape:
            raise StoreError(f"{self._name}: no losses of shape {shape}")
        with self._writing():
            if fill is None:
                self._file.flush()
                return np.memmap(self._file, self.dtype, "r+", shape=shape)
            left, piece = int(np.prod(shape, dtype=np.int64)), np.full(2**20, fill, self.dtype)
            for first in range(0, left, len(piece)):  # written, not sparse: a full disk is told now, not by a crash
                self._file.write(piece[: left - first].data)
            self._file.flush()
            return np.memmap(self._file, self.dtype, "r+", shape=shape)
