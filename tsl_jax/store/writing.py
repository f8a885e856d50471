"""Writing blocks of a fit store: first the data, then the record that the block is finished."""

from collections.abc import Mapping

import numpy as np
import zarr

from .arrays import WholeWrites, storing_all
from .checksum import crc32c
from .errors import StoreError, writing
from .far_requests import at_once
from .fits import FitStore
from .ledger import BlockState, InputDigest, ResultDigest, record
from .presence import chunk_keys
from .schema import LEDGER
from .whole_objects import WholeObjects

_NOT_DONE = "Nothing of this block counts as done."


class FitWriter:
    """Writes the blocks of one fit store; the caller holds `writer_lock`, or works for a run that does.

    Args:
        fits: the store.
        fitter: what fits, a number of `tsl_jax.store.fitters`; 0 where nothing is said of it.
    """

    def __init__(self, fits: FitStore, fitter: int = 0) -> None:
        group = fits.location.open_group("r+")
        self._name = fits.name
        self._num_tokens = fits.num_tokens
        self._block_tokens = fits.ledger.block_tokens
        self._location = fits.location
        self._sizes = WholeWrites(fits.location.store)
        own = {**fits.arrays, **fits.token_coordinates}
        self._arrays = {name: storing_all(array, self._sizes) for name, array in own.items()}
        self._objects = {name: WholeObjects.of(array) for name, array in self._arrays.items()}
        self._fitter = fitter
        self._results: dict[int, ResultDigest] = {}
        ledger = group[LEDGER]
        assert isinstance(ledger, zarr.Array)
        self._ledger = ledger

    def write(self, block: int, values: Mapping[str, np.ndarray]) -> None:
        """Write every array of a block.

        Args:
            block: its index.
            values: one array (tokens of the block,) for every array over tokens.

        Raises:
            WriteError: the store did not take an array; it names the array and the tokens.
        """
        start = block * self._block_tokens
        stop = min(start + self._block_tokens, self._num_tokens)
        missing = set(self._arrays) ^ set(values)
        if missing:
            raise StoreError(f"values: expected exactly the arrays of the store; they differ in {sorted(missing)}")

        def put(name: str) -> None:
            array = self._arrays[name]
            place = f"array {name!r}, tokens {start} to {stop - 1} (block {block})"
            column, objects = values[name].astype(array.dtype, copy=False), self._objects[name]
            made = None if objects is None else objects.made(start, column)
            if made is None:
                self._put(array, slice(start, stop), column, place)
                return
            with writing(self._name, place, kept=_NOT_DONE):
                for key, pieces in made:
                    self._sizes.write(key, pieces)

        at_once(self._location, put, values)
        with writing(self._name, f"tokens {start} to {stop - 1} (block {block})", kept=_NOT_DONE):
            self._sizes.settle()
        whole = crc32c(values[name].astype(self._arrays[name].dtype, copy=False) for name in sorted(values))
        keys = [key for array in self._arrays.values() for key, *_ in chunk_keys(array, start, stop)]
        self._results[block] = ResultDigest(whole, sum(self._sizes.bytes_of.pop(key) for key in keys))

    def finish(
        self,
        block: int,
        state: BlockState,
        digest: InputDigest,
        status: np.ndarray,
        category: np.ndarray,
        noted: Mapping[str, int] | None = None,
    ) -> np.ndarray:
        """Count a block as done; to be called when `write` has returned. Returns its row of the ledger."""
        row = record(block, state, digest, self._results.pop(block), status, category, noted, self._fitter)
        self._put(self._ledger, slice(block, block + 1), row[None], f"the record of block {block}")
        return row

    def reopen(self, block: int) -> None:
        """Count a block as not done, before its damaged results are written anew."""
        row = np.zeros((1, self._ledger.shape[1]), np.int64)
        self._put(self._ledger, slice(block, block + 1), row, f"the record of block {block}")

    def _put(self, array: zarr.Array, rows: slice, values: np.ndarray, place: str) -> None:
        with writing(self._name, place, kept=_NOT_DONE):
            array[rows] = values
