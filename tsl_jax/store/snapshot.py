"""A copy of all records of a ledger in one object: of 100,000 blocks, each record is a request.

The records stay the only truth. A row of the copy counts only where the listing shows the record as it was when the
copy was made; without a listing, or with a damaged copy, the records are read one by one.
"""

import zlib

import numpy as np
import zarr

from .errors import writing
from .location import Location, arrays_of
from .record_objects import record_tags
from .schema import LEDGER

#: Stores of fewer blocks have no copy.
LEAST_BLOCKS = 1024
_NAME = "snapshot"


def keep_snapshot(location: Location, table: np.ndarray, tags: np.ndarray | None = None) -> None:
    """Write the copy; nothing where there are few blocks, or a listing does not tell whether a record has changed.

    Args:
        location: of the fit store.
        table: (blocks, entries), as the records are that are written.
        tags: (blocks,) of the records that are known; the others are looked at.
    """
    if len(table) < LEAST_BLOCKS:
        return
    tags = np.zeros(len(table), np.int64) if tags is None else tags
    recorded = table[:, 0] != 0
    looked_at = record_tags(arrays_of(location.open_group())[LEDGER], np.flatnonzero(recorded & (tags == 0)))
    if looked_at is None:
        return
    tags = np.where(recorded, tags | looked_at, 0).clip(min=0)
    if not tags.any():
        return
    content = zlib.compress(np.column_stack([tags, table]).astype("<i8").tobytes(), 1)
    with writing(location.name, f"{LEDGER}/{_NAME}"):
        location.write_object(f"{LEDGER}/{_NAME}", content)


def read_snapshot(ledger: zarr.Array, tags: np.ndarray) -> np.ndarray | None:
    """The table (blocks, entries) as far as the copy has it, zeros elsewhere; None where there is none that counts.

    Args:
        ledger: the records.
        tags: (blocks,) theirs, as they are now.
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
    same = (values[:, 0] == tags) & (tags > 0)
    return np.where(same[:, None], values[:, 1:], 0).astype(np.int64)


def forget_snapshot(location: Location) -> None:
    """Delete the copy."""
    location.delete_object(f"{LEDGER}/{_NAME}")
