"""A copy of all records of a ledger in one object: of 100,000 blocks, each record is a request.

The records stay the only truth. A row of the copy counts only where the listing shows the record as it was when the
copy was made; without a listing, or with a damaged copy, the records are read one by one.
"""

import hashlib
import zlib

import numpy as np
import zarr

from .errors import writing
from .location import Location, arrays_of
from .presence import Objects, list_objects
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
    tags = _tags(ledger, np.flatnonzero(table[:, 0]), list_objects(ledger.store, ledger.path))
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


def stored_records(ledger: zarr.Array, objects: Objects) -> np.ndarray:
    """(blocks,) whether the listing has the record of a block: of a new store none need be asked for."""
    keys = (_key(ledger, block) for block in range(ledger.shape[0]))
    return np.fromiter((key in objects for key in keys), bool, ledger.shape[0])


def _key(ledger: zarr.Array, block: int) -> str:
    return f"{ledger.path}/{ledger.metadata.encode_chunk_key((block, 0))}"


def _tags(ledger: zarr.Array, blocks: np.ndarray, objects: Objects | None) -> np.ndarray:
    """(all blocks,) a number for the state of the stored record of some blocks, 0 where the listing has none."""
    tags = np.zeros(ledger.shape[0], np.int64)
    for block in blocks.tolist() if objects else ():
        stored = objects.get(_key(ledger, block)) if objects else None
        if stored is not None and stored.tag is not None:
            text = f"{stored.size} {stored.tag}".encode()
            tags[block] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
    return tags
