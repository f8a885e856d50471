"""The ledger of losses that are appended a checkpoint at a time: which columns count, after restarts too."""

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import zarr

from .errors import StoreError
from .reading import read_rows_with_gaps


def row_checksum(column: int, row: np.ndarray) -> int:
    """Of a row of the ledger; never 0, which is what an unwritten one holds."""
    return 1 + zlib.crc32(np.array([column, *row], "<f8").tobytes())


def finished_rows(ledger: zarr.Array) -> np.ndarray:
    """The rows (checkpoints, entries) from the first on that were written whole, without their checksums."""
    table, _ = read_rows_with_gaps(ledger, 0, ledger.shape[0], absent="fill")
    good = [row_checksum(at, row[:-1]) == row[-1] for at, row in enumerate(table)]
    count = good.index(False) if False in good else len(good)
    return table[:count, :-1]


def whole_rows(ledger: zarr.Array, name: str) -> np.ndarray:
    """`finished_rows` of a ledger whose later rows must not be given up.

    Raises:
        StoreError: a row is lost or damaged that another was written after.
    """
    rows = finished_rows(ledger)
    table, _ = read_rows_with_gaps(ledger, 0, ledger.shape[0], absent="fill")
    later = np.flatnonzero(np.any(table[len(rows) + 1 :] != 0, axis=1))
    if later.size:
        raise StoreError(
            f"{name}: row {len(rows)} of its ledger is lost or damaged, and checkpoints were written after it. Restore "
            f"the file {ledger.path}/c/{len(rows)}/0."
        )
    return rows


def counting_columns(steps: Sequence[float], restarts: Iterable[Sequence[float]]) -> list[int]:
    """Columns that count, by increasing step: a restart sets aside what lay after the step it went on from.

    Args:
        steps: of all columns, in the order in which they were written.
        restarts: of each, how many columns there were, and the step that training went on from.

    Example:
        >>> counting_columns([100, 200, 300, 200, 300], [(3, 100)])
        [0, 3, 4]
    """
    kept: list[int] = []
    pending = sorted((int(column), float(start)) for column, start in restarts)
    for column in range(len(steps) + 1):
        while pending and pending[0][0] <= column:
            start = pending.pop(0)[1]
            kept = [at for at in kept if steps[at] <= start]
        if column < len(steps):
            kept.append(column)
    return kept


def as_integers(column: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, as steps are."""
    whole = np.all(np.isfinite(column)) and np.all(column == np.round(column)) and np.all(np.abs(column) < 2**53)
    return column.astype(np.int64) if whole else column
