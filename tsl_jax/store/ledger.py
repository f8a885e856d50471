"""The record of finished blocks: one tiny object a block, written after the block's data.

It is a Zarr array (block, entry), one chunk a block, so it works on every store that Zarr can write, and a
store's write of one object is all or nothing (Zarr writes a local file under another name and renames it). A
run that is killed between data and record leaves the block unfinished. Each record ends with a checksum, so
that one that was damaged later is told from one that was written.
"""

import dataclasses
import enum
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from .arrays import create_array
from .digests import InputDigest, ResultDigest
from .errors import InvalidStoreError, Violation
from .location import Location
from .reading import read_rows_with_gaps
from .record_objects import RECORD_KEYS, record_tags
from .schema import LEDGER
from .snapshot import LEAST_BLOCKS, read_snapshot

_STATUSES = tuple(range(16))
_CATEGORIES = (*range(7), 255)
#: What else is counted of a block's tokens: `LEARNED` ones whose loss rises, those with too few points for an estimate
#: of their own noise, and those that have a second event with a probability above a half.
NOTED = ("learned_rising", "noise_not_estimated", "second_events")
_COUNTS = (*(f"status_{code}" for code in _STATUSES), *(f"category_{code}" for code in _CATEGORIES))
#: What is known of a block's input and result, as numbers; see `tsl_jax.store.digests`.
_DIGESTS = ("input_digest", "input_crc32c", "input_objects", "result_crc32c", "result_bytes")
#: What fitted it; see `tsl_jax.store.fitters`.
_FITTER = "fitter"
#: Columns of the record of a block.
ENTRIES = ("state", *_DIGESTS, _FITTER, *_COUNTS, *NOTED, "crc32")
_FIRST_COUNT = ENTRIES.index(_COUNTS[0])


class BlockState(enum.IntEnum):
    """How far a block is; stored in files."""

    PENDING = 0
    FINISHED = 1
    WITH_BAD_CHUNKS = 2


def create_ledger(group: zarr.Group, num_tokens: int, block_tokens: int) -> None:
    """Make the empty record of a new fit store."""
    create_array(
        group,
        LEDGER,
        shape=(-(-num_tokens // block_tokens), len(ENTRIES)),
        chunks=(1, len(ENTRIES)),
        chunk_key_encoding=RECORD_KEYS,
        dtype="int64",
        fill_value=0,
        compressors=[Crc32cCodec()],
        dimension_names=("block", "entry"),
        attributes={"block_tokens": block_tokens, "entries": list(ENTRIES)},
    )


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What is known of each block.

    Attributes:
        block_tokens: tokens in a block (the last may have fewer).
        table: (blocks, entries), the columns of `ENTRIES`.
        damaged: records that cannot be read; their blocks count as not finished.
        tags: (blocks,) of the records as they were read, see `tsl_jax.store.snapshot`; None where that was not asked.
    """

    block_tokens: int
    table: np.ndarray
    damaged: tuple[Violation, ...] = ()
    tags: np.ndarray | None = None

    @classmethod
    def read(
        cls, array: zarr.Array, name: str, *, repair: bool = False, blocks: tuple[int, int] | None = None
    ) -> "Ledger":
        """The record as it is now.

        Args:
            array: the ledger of a store.
            name: of the store.
            repair: whether the blocks of damaged records count as not finished, to be fitted anew.
            blocks: first block, and one past the last, whose records are read; the others count as not finished.

        Raises:
            InvalidStoreError: records are damaged; it names their files and the cure.
        """
        table, damaged, tags = read_records(array, *(blocks or (0, array.shape[0])))
        if damaged and not repair:
            raise InvalidStoreError(name, "fits", damaged)
        block_tokens: Any = array.attrs["block_tokens"]
        return cls(block_tokens, table, tuple(damaged), tags)

    def with_rows(self, rows: Mapping[int, np.ndarray]) -> "Ledger":
        """The same with rows (entries,) by block that were recorded since."""
        if not rows:
            return self
        table, tags = np.array(self.table), None if self.tags is None else np.array(self.tags)
        table[list(rows)] = list(rows.values())
        if tags is not None:
            tags[list(rows)] = 0
        return dataclasses.replace(self, table=table, tags=tags)

    @property
    def states(self) -> np.ndarray:
        """`BlockState` of each block, (blocks,)."""
        return self.table[:, 0]

    @property
    def digests(self) -> np.ndarray:
        """Digest of some rows of each block's input, (blocks,)."""
        return self.table[:, 1]

    def column(self, name: str) -> np.ndarray:
        """One of `ENTRIES`, (blocks,)."""
        return self.table[:, ENTRIES.index(name)]

    def input(self, block: int) -> InputDigest:
        """What a finished block was fitted from."""
        return InputDigest(*(int(entry) for entry in self.table[block, 1:4]))

    def result(self, block: int) -> ResultDigest:
        """What a finished block's results were when they were written."""
        return ResultDigest(*(int(entry) for entry in self.table[block, 4:6]))

    @property
    def fitters(self) -> np.ndarray:
        """What fitted each block, (blocks,): numbers of `tsl_jax.store.fitters`; 0 where nothing is said."""
        return self.column(_FITTER)

    @property
    def complete(self) -> bool:
        """Whether every block is finished without bad chunks."""
        return bool(np.all(self.states == BlockState.FINISHED))

    def status_counts(self) -> dict[int, int]:
        """Tokens per status code over all recorded blocks."""
        return self._counts(_FIRST_COUNT, _STATUSES)

    def category_counts(self) -> dict[int, int]:
        """Tokens per category code over all recorded blocks."""
        return self._counts(_FIRST_COUNT + len(_STATUSES), _CATEGORIES)

    def noted(self, name: str) -> int:
        """Sum of one of `NOTED` over all recorded blocks."""
        return int(self.column(name).sum())

    def _counts(self, first: int, codes: tuple[int, ...]) -> dict[int, int]:
        sums = self.table[:, first : first + len(codes)].sum(axis=0)
        return {code: int(count) for code, count in zip(codes, sums, strict=True) if count}


def read_records(
    array: zarr.Array, start: int = 0, stop: int | None = None
) -> tuple[np.ndarray, list[Violation], np.ndarray | None]:
    """All records as (blocks, entries), zeros for damaged ones; those that are damaged; and `Ledger.tags`.

    Args:
        array: the ledger.
        start: first block that is read; records before it are zeros.
        stop: one past the last; likewise.
    """
    stop = array.shape[0] if stop is None else stop
    whole, far = (start, stop) == (0, array.shape[0]), Location(array.store, array.path, "").far
    tags = record_tags(array) if whole and (far or stop >= LEAST_BLOCKS) else None  # far away each look is a request
    table, unreadable = None if tags is None else read_snapshot(array, tags), []
    table = np.zeros(array.shape, np.int64) if table is None else table
    wanted = table[:, 0] == BlockState.PENDING
    if tags is not None:
        wanted &= tags != 0
    for first, last in _runs(wanted, start, stop):
        table[first:last], bad = read_rows_with_gaps(array, first, last, absent="fill")
        unreadable += bad
    reasons = {bad.start: bad.reason for bad in unreadable}
    known = np.flatnonzero(np.any(table != 0, axis=1))  # zeros: nothing is recorded yet
    for block in known[_checksums(known, table[known, :-1]) != table[known, -1]].tolist():
        reasons[block] = "its checksum is another"
    table[list(reasons)] = 0
    return table, [_damage(array, block, reasons[block]) for block in sorted(reasons)], tags


def read_record(array: zarr.Array, block: int) -> np.ndarray:
    """The record (entries,) of one block; zeros where there is none, or a damaged one."""
    rows, damaged = read_rows_with_gaps(array, block, block + 1, absent="fill")
    whole = not damaged and _checksum(block, rows[0, :-1]) == rows[0, -1]
    return rows[0] if whole else np.zeros_like(rows[0])


def _runs(wanted: np.ndarray, start: int, stop: int) -> list[tuple[int, int]]:
    """First and one past the last of each run of consecutive blocks that are wanted."""
    edges = np.flatnonzero(np.diff(np.r_[False, wanted[start:stop], False].astype(np.int8))) + start
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _damage(array: zarr.Array, block: int, reason: str) -> Violation:
    file = f"{LEDGER}/{array.metadata.encode_chunk_key((block, 0))}"
    cure = "Run the same tsl fit command again (of combined fits tsl compare with --out): the block is made anew."
    return Violation(file, f"damaged: {reason}", f"the record of block {block}", cure)


def record(
    block: int,
    state: BlockState,
    given: InputDigest,
    result: ResultDigest,
    status: np.ndarray,
    category: np.ndarray,
    noted: Mapping[str, int] | None = None,
    fitter: int = 0,
) -> np.ndarray:
    """The row of `Ledger.table` of one block; ``noted``: by the names of `NOTED`, 0 where it is left out."""
    statuses, categories = (np.bincount(codes, minlength=256) for codes in (status, category))
    digests = [given.sampled, given.whole, given.objects, result.crc32c, result.stored_bytes, fitter]
    entries = [state, *digests, *statuses[list(_STATUSES)], *categories[list(_CATEGORIES)]]
    entries += [(noted or {}).get(name, 0) for name in NOTED]
    return np.array([*entries, _checksum(block, entries)], np.int64)


def _checksum(block: int, entries: Sequence[int] | np.ndarray) -> int:
    """CRC-32 of a record and of whose it is."""
    return int(_checksums(np.array([block]), np.array([entries], np.int64))[0])


def _checksums(blocks: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """(blocks,) the checksums of records (blocks, entries)."""
    rows = np.column_stack([blocks, entries]).astype("<i8")
    content, size = memoryview(rows.tobytes()), rows.shape[1] * rows.itemsize
    return np.array([zlib.crc32(content[at : at + size]) for at in range(0, len(content), size)], np.int64)
