"""The records of a ledger as objects of a store: which are there, whether they changed, and their end.

All lie beside the ledger's metadata, as ``ledger/c.BLOCK.0``: with Zarr's default keys each would have a folder of its
own, 100,000 to make and to list. Ledgers made before have these, ``ledger/c/BLOCK/0``, and keep them.

The tag of a record is a number for its state: 0 where there is none, negative where nothing tells whether it changed.
"""

import contextlib
import hashlib
import os

import numpy as np
import zarr
from zarr.storage import LocalStore

from .event_loop import wait_for
from .far_requests import at_once
from .local_files import sync_folder
from .location import Location, arrays_of
from .presence import ChunkKeys, Stored, each_of, find_objects
from .schema import LEDGER

#: How Zarr makes the name of a record's object.
RECORD_KEYS = {"name": "default", "separator": "."}
_BEGIN, _FOLDER = "c.", f"{LEDGER}/c"
_NO_TAG = -1


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
    folder, (name,) = ChunkKeys(array).in_a_row(["0"])
    begin = _BEGIN if name.startswith(_BEGIN) else ""
    with contextlib.suppress(OSError):
        names = os.listdir(group.store.root / folder)
        return sum(name.startswith(begin) for name in names) < array.shape[0]
    return False


def delete_records(location: Location) -> None:
    """Delete all records of a fit store; what else lies beside the ledger, such as a lock, stays."""
    wait_for(location.store.delete_dir(location.key(_FOLDER)))
    ledger = Location(location.store, location.key(LEDGER), location.name)
    names = [name for name in ledger.names() if name.startswith(_BEGIN)]
    folder = ledger.directory
    if folder is None:
        at_once(ledger, ledger.delete_object, names)
    elif names:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)
