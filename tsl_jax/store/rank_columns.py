"""Losses that a training loop wrote, one column a checkpoint in a group for each of its ranks, as one array."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from .arrays import storing_all
from .checkpoint_ledger import as_integers, counting_columns, whole_rows
from .errors import StoreError, StoreNotFoundError
from .imports.incoming import CheckpointColumns, IncomingLosses
from .imports.source_array import SourceArray
from .location import Location, arrays_of
from .rank_order import RankOrder, order_of
from .reading import read_rows

#: Attributes of the group that are not of the losses.
_OWN = ("tsl_kind", "tsl_version", "ranks")


@dataclasses.dataclass(frozen=True)
class RankRows:
    """What one rank wrote.

    Attributes:
        losses: (rows, checkpoints), one column a chunk, also those that a restart set aside.
        tokens: (rows,) coordinates by name.
        entries: names of the numbers that a checkpoint has.
        ledger: (checkpoints, entries).
        restarts: of each, how many columns there were, and the step that training went on from.
    """

    losses: zarr.Array
    tokens: Mapping[str, zarr.Array]
    entries: tuple[str, ...]
    ledger: np.ndarray
    restarts: tuple[tuple[int, float], ...]

    @property
    def columns(self) -> dict[float, int]:
        """The columns that count, by step."""
        steps = self.ledger[:, 0].tolist()
        return {steps[column]: column for column in counting_columns(steps, self.restarts)}

    @classmethod
    def open(cls, group: zarr.Group, name: str) -> "RankRows":
        """Of the group that a rank wrote.

        Raises:
            StoreError: its ledger is damaged.
        """
        arrays = {key: storing_all(array) for key, array in arrays_of(group).items()}
        attributes: Any = group.attrs.asdict()
        ledger = whole_rows(arrays["ledger"], name)
        tokens = {str(key): arrays[str(key)] for key in attributes["token_coordinates"]}
        restarts = tuple((int(column), float(start)) for column, start in attributes.get("restarts", ()))
        return cls(arrays["losses"], tokens, tuple(attributes["entries"]), ledger, restarts)


class _RankedRows:
    """Reads an array over the tokens of all ranks, in order of their sequences.

    Args:
        order: of the tokens.
        arrays: of each rank, (rows,) or (rows, checkpoints).
        columns: which column of each; None for arrays of one dimension.
    """

    def __init__(self, order: RankOrder, arrays: list[zarr.Array], columns: list[int] | None = None) -> None:
        self._order, self._arrays, self._columns = order, arrays, columns
        self.dtype = np.result_type(*(array.dtype for array in arrays))

    def __call__(self, tokens: slice) -> np.ndarray:
        values = np.empty(tokens.stop - tokens.start, self.dtype)
        for rank, place, rows in self._order.places(tokens.start, tokens.stop):
            first, last = int(rows.min()), int(rows.max()) + 1
            values[place] = self._read(rank, first, last)[rows - first]
        return values

    def _read(self, rank: int, first: int, last: int) -> np.ndarray:
        if self._columns is None:
            return read_rows(self._arrays[rank], first, last)
        column = self._columns[rank]
        return read_rows(self._arrays[rank], first, last, columns=slice(column, column + 1))[:, 0]


def _ranked(name: str, order: RankOrder, arrays: list[zarr.Array], columns: list[int] | None = None) -> SourceArray:
    rows = _RankedRows(order, arrays, columns)
    return SourceArray(name, (order.num_tokens,), rows.dtype, rows)


def losses_of_ranks(location: Location, group: zarr.Group) -> IncomingLosses:
    """Losses that `LossWriter` wrote: the checkpoints that all ranks have.

    Args:
        location: of the group.
        group: open, of the kind `BY_CHECKPOINT`.

    Raises:
        StoreError: a rank wrote nothing, no checkpoint is whole, or ranks disagree.
    """
    attributes: Any = group.attrs.asdict()
    ranks = [_open_rank(location, rank, int(attributes["ranks"])) for rank in range(int(attributes["ranks"]))]
    steps, notes = _whole_steps(location.name, ranks)
    names = [name for name in ranks[0].tokens if all(name in rank.tokens for rank in ranks)]
    order = order_of(location.name, [rank.tokens for rank in ranks])
    losses = [rank.losses for rank in ranks]
    columns = [
        _ranked(f"{location.name}, step {step:g}", order, losses, [rank.columns[step] for rank in ranks])
        for step in steps
    ]
    kept = {name: value for name, value in attributes.items() if name not in _OWN}
    restarts = sorted({start for rank in ranks for _, start in rank.restarts})
    return IncomingLosses(
        name=location.name,
        losses=CheckpointColumns(location.name, columns),
        checkpoint_coordinates=_coordinates(location.name, ranks, steps),
        token_coordinates={name: _ranked(name, order, [rank.tokens[name] for rank in ranks]) for name in names},
        attributes=kept | ({"restarted_from": restarts} if restarts else {}),
        notes=notes,
    )


def rank_place(location: Location, rank: int) -> Location:
    """Where a rank keeps its lock; its arrays lie in the group ``columns`` below."""
    return Location(location.store, location.key(f"rank_{rank}"), location.name)


def _open_rank(location: Location, rank: int, ranks: int) -> RankRows:
    place = Location(location.store, rank_place(location, rank).key("columns"), location.name)
    try:
        group = place.open_group()
    except StoreNotFoundError:
        group = None
    if group is None or "ledger" not in group:
        raise StoreError(
            f"{location.name}: rank {rank} of {ranks} has written no checkpoint, expected rows of every rank; if "
            "training is under way, wait for its first checkpoint"
        )
    return RankRows.open(group, f"{location.name}, rank {rank}")


def _whole_steps(name: str, ranks: list[RankRows]) -> tuple[list[float], tuple[str, ...]]:
    """Steps that all ranks have, and a note where some have more."""
    found = [set(rank.columns) for rank in ranks]
    whole, some = set.intersection(*found), set.union(*found)
    if not whole:
        raise StoreError(f"{name}: no checkpoint was written by all of its {len(ranks)} ranks, expected at least one")
    left = ", ".join(f"{step:g}" for step in sorted(some - whole)[:5])
    notes = (f"steps {left} were not written by all of the {len(ranks)} ranks, and are left out",) if left else ()
    return sorted(whole), notes


def _coordinates(name: str, ranks: list[RankRows], steps: list[float]) -> dict[str, np.ndarray]:
    """What is known of checkpoints, which ranks must agree on."""
    tables = [rank.ledger[[rank.columns[step] for step in steps]] for rank in ranks]
    for number, (rank, table) in enumerate(zip(ranks, tables, strict=True)):
        if rank.entries != ranks[0].entries or not np.array_equal(table, tables[0], equal_nan=True):
            raise StoreError(
                f"{name}: ranks 0 and {number} gave other coordinates of the same checkpoints "
                f"({', '.join(rank.entries)}); give the same numbers on every rank"
            )
    return {entry: as_integers(tables[0][:, at]) for at, entry in enumerate(ranks[0].entries)}
