"""Finished blocks of a fit store whose results are lost or damaged."""

import functools
from collections.abc import Iterator, Mapping

import numpy as np

from .checksum import crc32c
from .errors import ChunkError, Violation
from .fits import FitStore
from .ledger import BlockState
from .presence import ChunkKeys, Objects, chunk_keys, find_objects, sizes_of

#: By whether fits are combined from several runs.
_CURE = {
    False: "Run the same tsl fit command again: it fits the block anew.",
    True: "Run the same tsl compare command with --out again: it combines the block anew.",
}
_DEEP_CURE = {
    False: "Run the same tsl fit command again with --deep (fit_store(..., deep=True)): it fits the block anew.",
    True: "Run the same tsl compare command with --out again, with --deep (combine_fits(..., deep=True)): it combines "
    "the block anew.",
}


def damaged_blocks(fits: FitStore, *, deep: bool = False) -> Mapping[int, Violation]:
    """Finished blocks whose stored objects are absent, empty or of another size than was written.

    Args:
        fits: an open fit store.
        deep: whether the results are read, too, and compared with the digests of the ledger.

    Returns:
        By block, what was found first.
    """
    finished = np.flatnonzero(fits.ledger.states != BlockState.PENDING)
    if not len(finished):  # nothing need be looked at
        return {}
    objects = find_objects(fits.location.store, fits.location.path)
    looked_at = finished if deep or objects is None else _of_other_sizes(fits, finished, objects)
    found: dict[int, Violation] = {}
    for block in looked_at.tolist():
        damage = next(_damage(fits, block, objects, deep or objects is None), None)
        if damage is not None:
            found[block] = damage
    return found


def _of_other_sizes(fits: FitStore, finished: np.ndarray, objects: Objects) -> np.ndarray:
    """Those of some blocks of which an object is absent or empty, or all are of other sizes than were written."""
    blocks, block_tokens = len(fits.ledger.states), fits.ledger.block_tokens
    if not len(finished):
        return finished
    total, whole = np.zeros(blocks, np.int64), np.ones(blocks, bool)
    numbers = functools.cache(lambda places: [*map(str, places)])  # most arrays have the same
    for array in (*fits.arrays.values(), *fits.token_coordinates.values()):
        keys = ChunkKeys(array)
        if array.ndim != 1 or block_tokens % keys.rows:
            return finished
        for run in np.split(finished, np.flatnonzero(np.diff(finished) != 1) + 1):
            rows = run[0] * block_tokens, min((run[-1] + 1) * block_tokens, fits.num_tokens)
            places = range(rows[0] // keys.rows, -(-rows[1] // keys.rows))
            sizes = np.array(sizes_of(objects, *keys.in_a_row(numbers(places))))
            block = np.array(places) * keys.rows // block_tokens
            np.add.at(total, block, sizes)
            whole[block[sizes <= 0]] = False
    return finished[~whole[finished] | (total[finished] != fits.ledger.column("result_bytes")[finished])]


def _damage(fits: FitStore, block: int, objects: Objects | None, deep: bool) -> Iterator[Violation]:
    start, stop = fits.block_rows(block)
    arrays = {**fits.arrays, **fits.token_coordinates}
    written = fits.ledger.result(block)
    where = f"tokens {start} to {stop - 1} (block {block})"
    sizes = []
    for array in arrays.values() if objects is not None else ():
        for key, *_ in chunk_keys(array, start, stop):
            stored = objects.get(key) if objects is not None else None
            if stored is None or stored.size == 0:
                what = "not stored, though its block is finished" if stored is None else "an empty object"
                yield Violation(key, f"{what}: {where}", "the results that were written", _CURE[fits.combined])
            elif stored.size is not None:
                sizes.append(stored.size)
            else:
                sizes.append(None)
    known = [size for size in sizes if size is not None]
    if sizes and len(known) == len(sizes) and sum(known) != written.stored_bytes:
        expected = f"{written.stored_bytes}, as were written"
        yield Violation(where, f"{sum(known)} bytes are stored", expected, _CURE[fits.combined])
    if deep:
        yield from _content(fits, block, where)


def _content(fits: FitStore, block: int, where: str) -> Iterator[Violation]:
    start, stop = fits.block_rows(block)
    arrays = {**fits.arrays, **fits.token_coordinates}
    try:
        now = crc32c(fits.read_array(arrays[name], start, stop) for name in sorted(arrays))
    except ChunkError as error:
        yield Violation(
            error.bad.chunk, f"{error.bad.reason}: {where}", "the results that were written", _DEEP_CURE[fits.combined]
        )
        return
    if now != fits.ledger.result(block).crc32c:
        yield Violation(
            where, "the results are others than were written", "the checksum in the ledger", _DEEP_CURE[fits.combined]
        )
