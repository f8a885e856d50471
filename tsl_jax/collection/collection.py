"""Losses that are being collected: a column a checkpoint, on disk, until they are rewritten as trajectories.

They lie in the group ``collecting`` inside the output: `losses` (token, checkpoint) with chunks of one column, so that
a checkpoint is appended without touching those before, the token coordinates, and a `ledger` with one row a finished
checkpoint: its step, its other coordinates, and a checksum. The row is written after the column, so a column that a
killed run left half-written has none, and is written anew.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from ..store import Location, LossPlan, LossStore, StoreError, begin_losses, copy_tokens
from ..store.arrays import WholeWrites, storing_all
from ..store.checkpoint_ledger import as_integers, row_checksum
from ..store.errors import writing
from .output import remove

#: Tokens written at a time: a shard of every array over tokens.
SHARD_TOKENS = 2**20


@dataclasses.dataclass
class Collection:
    """Columns on disk; the caller holds `writer_lock`.

    Attributes:
        location: of the output.
        group: `collecting/columns`.
        losses: (token, checkpoint), one column a chunk.
        entries: names of the values in a row of the ledger.
        rows: (checkpoints, entries) of the finished checkpoints.
    """

    location: Location
    group: zarr.Group
    losses: zarr.Array
    entries: tuple[str, ...]
    rows: np.ndarray

    @property
    def steps(self) -> list[float]:
        """Steps of the finished checkpoints."""
        return self.rows[:, 0].tolist()

    def append(self, pieces: Iterable[np.ndarray], values: Callable[[], Mapping[str, float]]) -> None:
        """Write one checkpoint: its losses, then the row that makes it count.

        Args:
            pieces: the losses of consecutive tokens, together of all.
            values: what the row holds, by name; called when ``pieces`` has ended.

        Raises:
            WriteError: the store does not take it.
        """
        column, start = len(self.rows), 0
        kept = "The checkpoints before are kept."
        with writing(self.location.name, f"checkpoint {column}", kept=kept):
            self.losses.resize((self.losses.shape[0], column + 1))
        written = WholeWrites(self.losses.store)
        whole = storing_all(self.losses, written)
        for block in in_blocks(pieces, SHARD_TOKENS):
            with writing(self.location.name, f"checkpoint {column}, tokens from {start}", kept=kept):
                whole[start : start + len(block), column] = block
                written.settle()
            start += len(block)
        if start != self.losses.shape[0]:
            raise StoreError(
                f"batches: gave {start} tokens this time, expected {self.losses.shape[0]} as the first time"
            )
        found = values()
        self._record(np.array([found[name] for name in self.entries], np.float64))

    def append_store(self, store: LossStore) -> None:
        """Take up the columns of a loss store, so that more can follow."""
        self.losses.resize(store.losses.shape)
        for start in range(0, store.num_tokens, SHARD_TOKENS):
            block = store.read(slice(start, start + SHARD_TOKENS))
            for column in range(store.num_checkpoints):
                with writing(self.location.name, f"checkpoint {column}", kept="The loss store is as it was."):
                    self.losses[start : start + len(block), column] = block[:, column]
        for column in range(store.num_checkpoints):
            row = [store.checkpoint_coordinates[name][column] for name in self.entries]
            self._record(np.array(row, np.float64))

    def finish(self, attributes: Mapping[str, Any]) -> LossStore:
        """Write whole trajectories, then remove the columns; a killed run does it again."""
        if len(self.rows) != self.losses.shape[1]:
            self.losses.resize((self.losses.shape[0], len(self.rows)))
        columns = {name: self.rows[:, at] for at, name in enumerate(self.entries)}
        tokens = _tokens(self.group)
        unfinished = begin_losses(
            self.location,
            LossPlan(
                (self.losses.shape[0], self.losses.shape[1]),
                self.losses.dtype,
                checkpoints={name: as_integers(column) for name, column in columns.items()},
                tokens={name: (array.dtype, {}) for name, array in tokens.items()},
                attributes=attributes,
            ),
        )
        copy_tokens(self.losses, tokens, unfinished)
        return unfinished.finish(tidy=lambda: remove(self.location))

    def _record(self, row: np.ndarray) -> None:
        column = len(self.rows)
        ledger = array_of(self.group, "ledger")
        kept = "The checkpoints before are kept."
        with writing(self.location.name, f"the record of checkpoint {column}", kept=kept):
            ledger.resize((column + 1, len(self.entries) + 1))
            ledger[column] = [*row, row_checksum(column, row)]
        self.rows = np.concatenate([self.rows, row[None]])


def in_blocks(pieces: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Pieces of any length as arrays of ``rows`` each, the last with what is left."""
    held, count = [], 0
    for piece in pieces:
        while len(piece):
            part, piece = piece[: rows - count], piece[rows - count :]
            held.append(part)
            count += len(part)
            if count == rows:
                yield np.concatenate(held)
                held, count = [], 0
    if held:
        yield np.concatenate(held)


def _tokens(group: zarr.Group) -> dict[str, zarr.Array]:
    names = group.attrs["token_coordinates"]
    return {str(name): array_of(group, str(name)) for name in names}  # type: ignore[union-attr]


def array_of(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a collection's group."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    return storing_all(array)
