"""Loss curves as CSV files: columns step, loss and (where recorded) lr, in any order, others ignored."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import StoreError

#: Names that a column may have, the first of which messages use.
_COLUMNS = {
    "step": ("step",),
    "loss": ("loss",),
    "learning_rate": ("lr", "learning_rate"),
}


class LossCurveError(StoreError):
    """A CSV file is not a loss curve: which line, what came, what is expected, and the way out."""


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


def read_loss_curve(path: str | Path) -> LossCurveRows:
    """Read a loss curve from a CSV file with a header line.

    Args:
        path: of the file. Columns ``step`` and ``loss``, optionally ``lr`` (or ``learning_rate``); others are ignored.

    Returns:
        `LossCurveRows`.

    Raises:
        LossCurveError: no such file, no rows, a column missing or twice, a value that is no finite number, steps that
            are not whole, repeat or do not increase.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("step,lr,loss\\n100,1e-3,5.0\\n200,1e-3,4.5\\n")
        ...     file.flush()
        ...     read_loss_curve(file.name).loss.tolist()
        [5.0, 4.5]
    """
    columns = read_columns(path, ("step", "loss"), ("learning_rate",))
    return LossCurveRows(columns["step"].astype(np.int64), columns["loss"], columns.get("learning_rate"))


def read_columns(path: str | Path, needed: Sequence[str], others: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read columns of a CSV file with a header line, as float64, among them the step.

    Args:
        path: of the file.
        needed: columns that it must have: of ``step``, ``loss`` and ``learning_rate``, however the file spells it.
        others: columns that are read where they are there.

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
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise LossCurveError(f"{path}: cannot be read ({error.strerror}); give the path of a CSV file") from error
    except UnicodeDecodeError as error:
        raise LossCurveError(f"{path}: is not text; give a CSV file with columns step, lr and loss") from error
    if not lines:
        raise LossCurveError(f"{path}: is empty, expected a header line such as 'step,lr,loss' and a row a checkpoint")
    places = _places(path, [name.strip().lower() for name in lines[0][1]], needed, others)
    if len(lines) == 1:
        raise LossCurveError(f"{path}: has a header line but no rows, expected one a checkpoint")
    columns = {name: _numbers(path, lines[1:], name, place) for name, place in places.items()}
    _check_steps(path, columns["step"], [line for line, _ in lines[1:]])
    return columns


def _places(path, header, needed, others) -> dict[str, int]:
    """Which column holds what."""
    places = {}
    for name in (*needed, *others):
        spellings = _COLUMNS[name]
        found = [place for place, column in enumerate(header) if column in spellings]
        if len(found) > 1:
            raise LossCurveError(
                f"{path}: columns {[header[place] for place in found]} all could be the {name}; keep one of them"
            )
        if found:
            places[name] = found[0]
        elif name in needed:
            expected = ",".join(_COLUMNS[column][0] for column in needed)
            raise LossCurveError(
                f"{path}: no column {spellings[0]!r} among {header}, expected a header line such as {expected!r}; "
                f"add it or name the column that holds the {name} so"
            )
    return places


def _numbers(path, rows, name, place) -> np.ndarray:
    values = []
    for line, row in rows:
        text = row[place].strip() if place < len(row) else ""
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise LossCurveError(
                f"{path}, line {line}: {name} is {text or 'missing'!r}, expected a finite number; delete the line"
            )
        values.append(value)
    return np.array(values)


def _check_steps(path, step, lines) -> None:
    broken = np.flatnonzero((step != np.floor(step)) | (step < 0))
    if broken.size:
        raise LossCurveError(
            f"{path}, line {lines[broken[0]]}: step is {step[broken[0]]:g}, expected a whole number of 0 or above; "
            "repair the line"
        )
    falls = np.flatnonzero(np.diff(step) <= 0)
    if falls.size:
        line, before, after = lines[falls[0] + 1], step[falls[0]], step[falls[0] + 1]
        wrong, cure = (
            (f"step {after:g} comes twice", "keep one row of each step")
            if before == after
            else (f"step {after:g} comes after {before:g}", "sort the rows by step")
        )
        raise LossCurveError(f"{path}, line {line}: {wrong}, expected increasing steps; {cure}")
