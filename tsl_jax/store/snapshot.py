"""A copy of all records of a ledger in one object: of 100,000 blocks, each record is a request.

The records stay the only truth. A row of the copy counts only where the listing shows the record as it was when the
copy was made; without a listing, or with a damaged copy, the records are read one by one.
"""

import hashlib
import zlib
from collections.abc import Callable

import numpy as np
import zarr

from .errors import writing
from .location import Location, arrays_of
from .presence import Objects, find_objects
from .schema import LEDGER

#: Stores of fewer blocks have no copy.
LEAST_BLOCKS = 1024
_NAME = "snapshot"


def keep_snapshot(location: Location, table: np.ndarray) -> None:
    """Write the copy; nothing where there are few blocks, or a listing does not tell whether a record has changed.

    Args:
        location: of the fit store.
        table: (blocks, entries), as the records are that are written.
    """
    if len(table) < LEAST_BLOCKS:
        return
    ledger = arrays_of(location.open_group())[LEDGER]
    tags = _tags(ledger, np.flatnonzero(table[:, 0]), find_objects(ledger.store, ledger.path))
    if not tags.any():
        return
    content = zlib.compress(np.column_stack([tags, table]).astype("<i8").tobytes(), 1)
    with writing(location.name, f"{LEDGER}/{_NAME}"):
        location.write_object(f"{LEDGER}/{_NAME}", content)


def read_snapshot(ledger: zarr.Array, objects: Objects | None) -> np.ndarray | None:
    """The table (blocks, entries) as far as the copy has it, zeros elsewhere; None where there is none that counts.

    Args:
        ledger: the records.
        objects: their listing.
    """
    if ledger.shape[0] < LEAST_BLOCKS:
        return None
    content = Location(ledger.store, ledger.path, str(ledger.store_path)).read_object(_NAME)
    if content is None:
        return None
    try:
        values = np.frombuffer(zlib.decompress(content), "<i8").reshape(ledger.shape[0], -1)
    except (zlib.error, ValueError):
        return None
    if values.shape[1] != ledger.shape[1] + 1:
        return None
    tags, table = values[:, 0], values[:, 1:].astype(np.int64)
    known = np.flatnonzero(tags)
    known = known[_tags(ledger, known, objects)[known] == tags[known]]
    kept = np.zeros_like(table)
    kept[known] = table[known]
    return kept


def forget_snapshot(location: Location) -> None:
    """Delete the copy."""
    location.delete_object(f"{LEDGER}/{_NAME}")


def stored_records(ledger: zarr.Array, objects: Objects, blocks: np.ndarray) -> np.ndarray:
    """(all blocks,) whether the listing has the record of some of them: of a new store none need be asked for."""
    there, key = np.zeros(ledger.shape[0], bool), _keys(ledger)
    there[blocks] = [key(block) in objects for block in blocks.tolist()]
    return there


def _keys(ledger: zarr.Array) -> Callable[[int], str]:
    """The key of a block's record."""
    path, encode = ledger.path, ledger.metadata.encode_chunk_key
    return lambda block: f"{path}/{encode((block, 0))}"


def _tags(ledger: zarr.Array, blocks: np.ndarray, objects: Objects | None) -> np.ndarray:
    """(all blocks,) a number for the state of the stored record of some blocks, 0 where the listing has none."""
    tags, key = np.zeros(ledger.shape[0], np.int64), _keys(ledger)
    for block in blocks.tolist() if objects is not None else ():
        stored = objects.get(key(block)) if objects is not None else None
        if stored is not None and stored.tag is not None:
            text = f"{stored.size} {stored.tag}".encode()
            tags[block] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
    return tags
