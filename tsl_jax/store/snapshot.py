"""A copy of all records of a ledger in one object: of 100,000 blocks, each record is a request.

The records stay the only truth. A row of the copy counts only where the listing shows the record as it was when the
copy was made; without a listing, or with a damaged copy, the records are read one by one.

The tag of a record is a number for its state: 0 where there is none, negative where nothing tells whether it changed.
"""

import contextlib
import hashlib
import os
import zlib

import numpy as np
import zarr
from zarr.storage import LocalStore

from .errors import writing
from .location import Location, arrays_of
from .presence import ChunkKeys, Stored, each_of, find_objects
from .schema import LEDGER

#: Stores of fewer blocks have no copy.
LEAST_BLOCKS = 1024
_NAME = "snapshot"
_NO_TAG = -1


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


def record_tags(ledger: zarr.Array, blocks: np.ndarray | None = None) -> np.ndarray | None:
    """(all blocks,) the tags of some records, 0 of the others; None where no listing tells.

    Args:
        ledger: the records.
        blocks: which; all by default.
    """
    objects = find_objects(ledger.store, ledger.path)
    if objects is None or f"{ledger.path}/zarr.json" not in objects:  # a listing without what is there tells nothing
        return None
    tags = np.zeros(ledger.shape[0], np.int64)
    blocks = np.arange(len(tags)) if blocks is None else blocks
    folder, names = ChunkKeys(ledger).in_a_row([*map(str, blocks.tolist())])
    tags[blocks] = [_tag(stored) for stored in each_of(objects, folder, names)]
    return tags


def _tag(stored: Stored | None) -> int:
    if stored is None or stored.tag is None:
        return 0 if stored is None else _NO_TAG
    text = f"{stored.size} {stored.tag}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1 or _NO_TAG


def lacks_records(group: zarr.Group) -> bool:
    """Whether names alone, of files on this machine, show that a block has no record: of many, a matter of moments.

    Raises:
        StoreError: the metadata of an array cannot be read.
    """
    if not isinstance(group.store, LocalStore):
        return False
    array = arrays_of(group).get(LEDGER)
    if array is None or not array.ndim:
        return False
    with contextlib.suppress(OSError):
        return len(os.listdir(group.store.root / array.path / "c")) < array.shape[0]
    return False
