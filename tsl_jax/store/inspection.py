"""All that is wrong with a store: its schema, and whether what it should hold is there and whole."""

from collections.abc import Iterator, Sequence

import numpy as np
import zarr

from .arrays import has_checksum
from .damage import damaged_blocks
from .errors import NOT_STORED_COORDINATE_CURE, NOT_STORED_CURE, BadChunk, Violation
from .fits import open_fits_at
from .ledger import BlockState, read_records
from .location import Location, StoreLike, arrays_of, locate
from .losses import LossStore, open_losses_at
from .presence import MOST_LOST, list_objects, lost_chunks
from .reading import read_rows_with_gaps
from .schema import LEDGER
from .validation import check

#: Bytes of decoded values that a deep check reads at a time, at least a chunk.
_PIECE_BYTES = 2**26
_SHOWN = 3


def validate(store: StoreLike, *, deep: bool = False) -> list[Violation]:
    """Everything about a loss or fit store that breaks its schema or is lost, errors before notes.

    Args:
        store: whatever `tsl_jax.store.locate` takes.
        deep: whether all of it is read, too: losses against the checksums of their chunks, fits against the ledger.
            Otherwise the stored objects are only listed.

    Returns:
        Violations, empty for a store that is as it should be; notes alone do not keep a store from opening.

    Raises:
        StoreNotFoundError: there is no Zarr group to check.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> memory = zarr.storage.MemoryStore()
        >>> _ = create_losses(memory, np.ones((4, 3), "float16"), checkpoints={"step": [0, 10, 20]})
        >>> validate(memory)
        []
    """
    location = locate(store)
    group = location.open_group()
    kind = group.attrs.get("tsl_kind")
    found = check(group, kind)
    if any(violation.level == "error" for violation in found):
        return _by_level(found)  # too little is known to look further
    if kind == "losses":
        found += _check_content_of_losses(open_losses_at(location, group), deep)
    else:
        found += _check_content_of_fits(location, group, deep)
    return _by_level([*found, *_check_checksums(group)])


def _by_level(found: list[Violation]) -> list[Violation]:
    return sorted(found, key=lambda violation: violation.level != "error")


def _check_checksums(group: zarr.Group) -> Iterator[Violation]:
    names = [name for name, array in sorted(arrays_of(group).items()) if not has_checksum(array)]
    if names:
        yield Violation(
            ", ".join(names),
            f"no checksum of {'its' if len(names) == 1 else 'their'} chunks, so that damage can pass unseen",
            "a codec crc32c",
            "Write the store anew: tsl rechunk writes checksums with losses, tsl fit with fits.",
            "note",
        )


def _check_content_of_losses(losses: LossStore, deep: bool) -> Iterator[Violation]:
    objects = list_objects(losses.location.store, losses.location.path)
    for array in (losses.losses, *losses.token_coordinates.values()):
        lost = lost_chunks(array, objects) if objects is not None else []
        if deep:
            lost += [bad for bad in _unreadable(array) if bad.chunk not in {one.chunk for one in lost}]
        yield from _lost(array, lost)


def _unreadable(array: zarr.Array) -> list[BadChunk]:
    row = max(1, int(np.prod(array.shape[1:]))) * array.dtype.itemsize
    stored = (array.shards or array.chunks)[0]
    rows = max(1, _PIECE_BYTES // row // stored) * stored
    pieces = range(0, array.shape[0], rows)
    return [bad for start in pieces for bad in read_rows_with_gaps(array, start, min(start + rows, array.shape[0]))[1]]


def _lost(array: zarr.Array, lost: Sequence[BadChunk]) -> Iterator[Violation]:
    """One violation for all chunks that are absent, and one for all that cannot be read."""
    for absent in (True, False):
        some = [bad for bad in lost if bad.absent == absent]
        if not some:
            continue
        shown = ", ".join(f"{bad.chunk} (tokens {bad.start} to {bad.stop - 1})" for bad in some[:_SHOWN])
        places = f"{shown}, ..." if len(some) > _SHOWN else shown
        said = "not stored" if absent else f"not readable ({some[0].reason})"
        most = "at least " if len(lost) >= MOST_LOST else ""
        number = "1 chunk is" if len(some) == 1 else f"{most}{len(some):,} chunks are"
        cure = NOT_STORED_CURE if array.ndim > 1 else NOT_STORED_COORDINATE_CURE
        yield Violation(
            array.basename, f"{number} {said}: {places}", "every chunk", cure if absent else "Restore what is damaged."
        )


def _check_content_of_fits(location: Location, group: zarr.Group, deep: bool) -> Iterator[Violation]:
    ledger = group[LEDGER]
    assert isinstance(ledger, zarr.Array)
    table, damaged, _ = read_records(ledger)
    yield from damaged
    fits = open_fits_at(location, group, repair=True)
    yield from damaged_blocks(fits, deep=deep).values()
    finished = int(np.sum(table[:, 0] == BlockState.FINISHED))
    if finished + len(damaged) < len(table):
        found = f"{finished} of {len(table)} blocks finished"
        yield Violation(LEDGER, found, "all blocks", "Run the same command again to go on.", "note")
