"""Tables of a row for each token and step, in any order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StoreError
from .bundles import Wanted
from .cells import Names, real_column, smallest, whole_column
from .incoming import CheckpointColumns, IncomingLosses
from .scratch import Scratch
from .source_array import of_numpy

if TYPE_CHECKING:
    from .table_losses import Frames


def read_long(
    frames: "Frames", step: str, loss: str, token: Sequence[str], kept: Sequence[str], wanted: Wanted
) -> IncomingLosses:
    """Losses of rows in any order: read once for the tokens and steps there are, and once for the losses.

    Args:
        frames: the table.
        step: name of the column of steps.
        loss: that of losses.
        token: the columns that number the tokens.
        kept: columns with what is known of the tokens.
        wanted: nothing of it but coordinates beside the step.

    Raises:
        StoreError: a loss is there twice, a token has two values of a coordinate, or a cell is no number.
    """
    tokens, steps = Distinct(), Distinct()
    dtype = None
    for frame in frames:
        tokens.add(_keys(frames.name, frame, token))
        steps.add(whole_column(frames.name, frame, step))
        dtype = dtype or real_column(frames.name, frame, loss).dtype
    known, at_step = tokens.values(), steps.values()
    given = wanted.checkpoints.get("step", at_step)
    if not np.array_equal(given, at_step):
        raise StoreError(
            f"{frames.name}: its column {step} has {len(at_step)} steps, {at_step[0]} to {at_step[-1]}, and others "
            f"were given ({given.size}); leave out --steps (steps=)"
        )
    assert dtype is not None
    dtype = np.dtype(np.float32) if frames.text or dtype.kind != "f" else dtype
    with Scratch(frames.scratch, dtype) as scratch:
        losses = scratch.mapped((len(at_step), len(known)), fill=np.nan)
    columns = {name: _Column(frames.name, name, len(known)) for name in kept}
    filled = 0
    for frame in frames:
        rows = np.searchsorted(known, _keys(frames.name, frame, token))
        places = np.searchsorted(at_step, whole_column(frames.name, frame, step))
        values = real_column(frames.name, frame, loss)
        _refuse_twice(frames.name, losses, places, rows, (at_step, known, token))
        losses[places, rows] = values
        filled += int(np.count_nonzero(~np.isnan(values)))
        for column in columns.values():
            column.put(frame, rows)
    counted = len(token) > 1 or np.array_equal(known, np.arange(len(known)))
    named = {} if counted else {token[0]: known}
    missing = losses.size - filled
    note = f"{missing:,} of {losses.size:,} losses are not in the table and count as not measured"
    parts = [of_numpy(f"{frames.name}, step {at}", losses[number]) for number, at in enumerate(at_step)]
    beside = {name: values for name, values in wanted.checkpoints.items() if name != "step"}
    return IncomingLosses(
        name=frames.name,
        losses=CheckpointColumns(frames.name, parts),
        checkpoint_coordinates={"step": at_step, **beside},
        token_coordinates=named | {name: column.values() for name, column in columns.items()},
        attributes={key: value for column in columns.values() for key, value in column.attributes().items()},
        notes=(note,) * bool(missing),
        held=True,
    )


class Distinct:
    """The different values of many, sorted, in memory of the size of what is different."""

    def __init__(self) -> None:
        self._sorted, self._new, self._number = np.empty(0, np.int64), [], 0

    def add(self, values: np.ndarray) -> None:
        """Take note of some values."""
        values = np.unique(values)
        at = np.searchsorted(self._sorted, values).clip(max=max(0, len(self._sorted) - 1))
        fresh = values[self._sorted[at] != values] if len(self._sorted) else values
        if fresh.size:
            self._new.append(fresh)
            self._number += len(fresh)
        if self._number > len(self._sorted):
            self.values()

    def values(self) -> np.ndarray:
        """All of them."""
        if self._new:
            self._sorted = np.unique(np.concatenate([self._sorted, *self._new]))
            self._new, self._number = [], 0
        return self._sorted


class _Column:
    """What is known of each token, in whatever order it comes."""

    def __init__(self, table: str, name: str, tokens: int) -> None:
        self._table, self._name, self._names = table, name, Names()
        self._values: Any = np.zeros(tokens, np.int64)
        self._there = np.zeros(tokens, bool)

    def put(self, frame: Any, rows: np.ndarray) -> None:
        """Take note of some rows.

        Raises:
            StoreError: a token has another value than before.
        """
        if self._name == "token_frequency":
            values = real_column(self._table, frame, self._name)
            self._values = self._values.astype(np.float64, copy=False)
        else:
            values = self._names.numbers(self._table, frame, self._name)
        before = self._values[rows]
        known = self._there[rows]
        self._values[rows] = values
        self._there[rows] = True
        bad = np.flatnonzero((known & (before != values)) | (self._values[rows] != values))
        if bad.size:
            raise StoreError(
                f"{self._table}: row {frame.index[int(bad[0])]}: {self._name} of its token is another than at other "
                "steps; expected one for each token. Are the tokens numbered alike at all steps?"
            )

    def values(self) -> np.ndarray:
        """One a token."""
        return self._values if self._values.dtype.kind == "f" else smallest(self._values)

    def attributes(self) -> dict[str, Any]:
        """Names of what is text in the table."""
        return self._names.attributes(self._name)


def _keys(table: str, frame: Any, token: Sequence[str]) -> np.ndarray:
    """A number for each token, by which they are ordered."""
    columns = [whole_column(table, frame, name) for name in token]
    if len(columns) == 1:
        return columns[0]
    sequence, position = columns
    if sequence.size and (min(sequence.min(), position.min()) < 0 or max(sequence.max(), position.max()) >= 2**31):
        raise StoreError(f"{table}: {' and '.join(token)} must be whole numbers from 0 to 2^31; number them from 0 on")
    return (sequence << 32) | position


def _refuse_twice(table: str, losses: np.ndarray, places: np.ndarray, rows: np.ndarray, names: Any) -> None:
    """Raise if a loss of these rows is there already, or twice among them."""
    flat = places.astype(np.int64) * losses.shape[1] + rows
    order = np.argsort(flat, kind="stable")
    twice = order[1:][np.diff(flat[order]) == 0]
    again = twice if twice.size else np.flatnonzero(~np.isnan(losses[places, rows]))
    if again.size:
        at_step, known, token = names
        key = known[rows[again[0]]]
        said = f"{token[0]} {key}" if len(token) == 1 else f"sequence {key >> 32}, position {key & (2**32 - 1)}"
        raise StoreError(
            f"{table}: {said} has two losses at step {at_step[places[again[0]]]}; expected one. If {token[0]} is the "
            "id in the vocabulary, add a column token that numbers the tokens of the data; drop rows that are repeated"
        )
