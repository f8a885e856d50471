"""The record of finished blocks: one tiny object a block, written after the block's data.

It is a Zarr array (block, entry), one chunk a block, so it works on every store that Zarr can write, and a
store's write of one object is all or nothing (Zarr writes a local file under another name and renames it). A
run that is killed between data and record leaves the block unfinished.
"""

import dataclasses
import enum

import numpy as np
import zarr

from .schema import LEDGER

_STATUSES = tuple(range(16))
_CATEGORIES = (*range(7), 255)
#: Columns of the record of a block.
ENTRIES = (
    "state",
    "input_digest",
    *(f"status_{code}" for code in _STATUSES),
    *(f"category_{code}" for code in _CATEGORIES),
)


class BlockState(enum.IntEnum):
    """How far a block is; stored in files."""

    PENDING = 0
    FINISHED = 1
    WITH_BAD_CHUNKS = 2


def create_ledger(group: zarr.Group, num_tokens: int, block_tokens: int) -> None:
    """Make the empty record of a new fit store."""
    group.create_array(
        LEDGER,
        shape=(-(-num_tokens // block_tokens), len(ENTRIES)),
        chunks=(1, len(ENTRIES)),
        dtype="int64",
        fill_value=0,
        compressors=None,
        dimension_names=("block", "entry"),
        attributes={"block_tokens": block_tokens, "entries": list(ENTRIES)},
    )


@dataclasses.dataclass(frozen=True)
class Ledger:
    """What is known of each block.

    Attributes:
        block_tokens: tokens in a block (the last may have fewer).
        table: (blocks, entries), the columns of `ENTRIES`.
    """

    block_tokens: int
    table: np.ndarray

    @classmethod
    def read(cls, group: zarr.Group) -> "Ledger":
        """The record as it is now."""
        array = group[LEDGER]
        assert isinstance(array, zarr.Array)
        return cls(int(array.attrs["block_tokens"]), np.asarray(array[:]))  # type: ignore[arg-type]

    @property
    def states(self) -> np.ndarray:
        """`BlockState` of each block, (blocks,)."""
        return self.table[:, 0]

    @property
    def digests(self) -> np.ndarray:
        """Digest of each block's input, (blocks,)."""
        return self.table[:, 1]

    @property
    def complete(self) -> bool:
        """Whether every block is finished without bad chunks."""
        return bool(np.all(self.states == BlockState.FINISHED))

    def status_counts(self) -> dict[int, int]:
        """Tokens per status code over all recorded blocks."""
        return self._counts(2, _STATUSES)

    def category_counts(self) -> dict[int, int]:
        """Tokens per category code over all recorded blocks."""
        return self._counts(2 + len(_STATUSES), _CATEGORIES)

    def _counts(self, first: int, codes: tuple[int, ...]) -> dict[int, int]:
        sums = self.table[:, first : first + len(codes)].sum(axis=0)
        return {code: int(count) for code, count in zip(codes, sums, strict=True) if count}


def record(state: BlockState, digest: int, status: np.ndarray, category: np.ndarray) -> np.ndarray:
    """The row of `Ledger.table` of one block."""
    statuses, categories = (np.bincount(codes, minlength=256) for codes in (status, category))
    return np.array([state, digest, *statuses[list(_STATUSES)], *categories[list(_CATEGORIES)]], np.int64)
