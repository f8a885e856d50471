"""Loss curves as files that frameworks write: columns step, loss and (where recorded) the learning rate."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..refusals import readable
from .columns import find_columns, rows_of_run
from .rows import gap_note, increasing, numbers
from .tables import CURVE_FILES, LossCurveError, Table, read_table

__all__ = ["CURVE_FILES", "LossCurveError", "LossCurveFile", "LossCurveRows", "LossCurveWarning"]


class LossCurveWarning(UserWarning):
    """Rows of a file were left out or put in order."""


class LossCurveRows(NamedTuple):
    """The rows of a loss curve, as `tsl_jax.temporal.loss_curve` takes them.

    Args:
        step: (rows,) updates done, increasing, int64.
        loss: (rows,) losses, nat, float64.
        learning_rate: (rows,) learning rates, float64; None where the file has no such column.
    """

    step: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray | None


class LossCurveFile:
    """A file of one run's curve, read once, from which columns are taken.

    Comma, semicolon, tab or bar separated text with a header line, JSON (a list of records, or Hugging Face's
    ``trainer_state.json``), JSON lines, Parquet, what Weights & Biases and TensorBoard export, and the logs of llm.c
    and modded-nanogpt. Columns go by the names that frameworks give them.

    Args:
        path: of the file, or of a folder with a ``trainer_state.json``.
        names: what the columns ``step``, ``loss`` and ``learning_rate`` are called, where the names are others; and
            ``run``, the run to take of a file whose column says which rows belong to which.

    Raises:
        LossCurveError: the file cannot be read, is no table, or holds several runs of which none is named.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("_step;train/loss\\n1;5,5\\n2;nan\\n3;4,5\\n")
        ...     file.flush()
        ...     columns, notes = LossCurveFile(file.name).columns(["step", "loss"])
        >>> columns["loss"].tolist(), notes[-1]
        ([5.5, 4.5], 'left out 1 row without a finite loss')
    """

    def __init__(self, path: str | Path, names: Mapping[str, str] | None = None) -> None:
        state = Path(path) / "trainer_state.json"
        self._names = dict(names or {})
        with readable(LossCurveError):
            table = read_table(state if state.is_file() else path)
        self._table: Table = rows_of_run(table, self._names.pop("run", None))

    def has(self, name: str) -> bool:
        """Whether there is a column of this kind with a number in it."""
        places, _ = find_columns(self._table, (), (name,), self._names)
        return name in places and bool(np.isfinite(numbers(self._table, name, places[name])[0]).any())

    def columns(
        self, needed: Sequence[str], others: Sequence[str] = ()
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Columns as float64, one row a step in increasing order, those without a finite number in one left out.

        Args:
            needed: columns that the file must have, ``step`` among them: of ``step``, ``loss`` and ``learning_rate``.
            others: columns that are taken where they are there.

        Returns:
            (rows,) array of each, and notes on what was left out or put in order.

        Raises:
            LossCurveError: a column is absent or there are several of it, a cell is no number, or no row is left.
        """
        table = self._table
        places, notes = find_columns(table, needed, others, self._names)
        if not table.rows:
            raise LossCurveError(f"{table.path}: has a header line but no rows, expected one a checkpoint")
        found = {name: numbers(table, name, place) for name, place in places.items()}
        kept = np.all([np.isfinite(values) for values, _ in found.values()], axis=0)
        without = [name for name, (_, gaps) in found.items() if gaps]
        gaps = int(np.sum(~kept)) if without else 0
        if not kept.any():
            raise LossCurveError(
                f"{table.path}: none of its {len(table.rows)} rows has a finite {' and '.join(places)}, expected one a "
                "checkpoint"
            )
        columns = {name: values[kept] for name, (values, _) in found.items()}
        order, changes = increasing(columns["step"])
        notes = (*table.notes, *notes, *gap_note(gaps, without), *changes)
        return {name: values[order] for name, values in columns.items()}, notes


def read_loss_curve(path: str | Path, names: Mapping[str, str] | None = None) -> LossCurveRows:
    """Read a loss curve from a file; see `LossCurveFile`.

    Args:
        path: of the file. Columns for the step and the loss, optionally one for the learning rate; others are ignored.
        names: what ``step``, ``loss`` and ``learning_rate`` are called, where the file has names of its own.

    Returns:
        `LossCurveRows`. Rows that are left out or put in order are told in one `LossCurveWarning`.

    Raises:
        LossCurveError: no such file, no rows, a column missing or twice, or a value that is no number.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("step,lr,loss\\n100,1e-3,5.0\\n200,1e-3,4.5\\n")
        ...     file.flush()
        ...     read_loss_curve(file.name).loss.tolist()
        [5.0, 4.5]
    """
    columns = read_columns(path, ("step", "loss"), ("learning_rate",), names)
    return LossCurveRows(columns["step"].astype(np.int64), columns["loss"], columns.get("learning_rate"))


def read_columns(
    path: str | Path, needed: Sequence[str], others: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Read columns of a file, as float64, among them the step; see `LossCurveFile`.

    Args:
        path: of the file.
        needed: columns that it must have: of ``step``, ``loss`` and ``learning_rate``, however the file spells it.
        others: columns that are read where they are there.
        names: what they are called, where the file has names of its own.

    Returns:
        (rows,) array of each.

    Raises:
        LossCurveError: see `read_loss_curve`.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("step,lr\\n1,1e-3\\n200,1e-4\\n")
        ...     file.flush()
        ...     read_columns(file.name, ["step", "learning_rate"])["learning_rate"].tolist()
        [0.001, 0.0001]
    """
    columns, notes = LossCurveFile(path, names).columns(needed, others)
    if notes:
        warnings.warn(f"{path}: {'; '.join(notes)}", LossCurveWarning, stacklevel=2)
    return columns
