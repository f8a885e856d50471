"""Rows of a loss curve out of cells: numbers, gaps, repeats, and runs that went back to a checkpoint."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .tables import LossCurveError, Table

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?", re.ASCII)
#: Steps in groups of thousands, by the character between them: ``12,000``; ``12.000`` where commas are decimal.
_SPACES = " \u00a0\u202f'_"
_GROUPS = {mark: re.compile(rf"[0-9]{{1,3}}(?:[{mark}][0-9]{{3}})+", re.ASCII) for mark in (",", ".", _SPACES)}
_OF_STEPS = re.compile(r"([0-9]+)/[0-9]+", re.ASCII)  # ``step:10/3242``
_MISSING = {"", "nan", "+nan", "-nan", "null", "none", "na", "n/a", "inf", "+inf", "-inf", "infinity", "-infinity"}
#: Steps above are no longer all whole numbers in float64.
_MOST_STEPS = 2.0**53
#: Losses and rates beyond are infinite in float32.
_MOST = float(np.finfo(np.float32).max)
#: Rows between two steps back, at least, where they are restarts; rows in disorder have fewer.
_ROWS_OF_A_RESTART = 3


def numbers(table: Table, name: str, place: int) -> tuple[np.ndarray, int]:
    """A column as float64, NaN where there is no finite number, and in how many rows there is one that is not finite.

    Raises:
        LossCurveError: a cell holds something else, or a number that this column cannot have.
    """
    values, gaps = np.full(len(table.rows), np.nan), 0
    commas = table.decimal_comma and _has_decimal_commas(table)
    for row, cells in enumerate(table.rows):
        cell = cells[place]
        if cell is None:
            continue  # there is no such cell, and so nothing is missing
        value = _number(cell, name, table.decimal_comma, commas)
        wrong = None if value is None else _wrong(value, name)
        if value is None or wrong:
            raise LossCurveError(
                f"{table.path}, {table.places[row]}: {name} is {_shown(cell)}, expected {wrong or 'a finite number'}; "
                "repair or delete the line"
            )
        values[row] = value if abs(value) <= _MOST else np.nan
        gaps += not np.isfinite(values[row])
    return values, gaps


def _has_decimal_commas(table: Table) -> bool:
    """Whether a cell holds a number with a decimal comma that separates no thousands."""
    cells = (cell.strip() for row in table.rows for cell in row if isinstance(cell, str))
    return any(_DECIMAL_COMMA.fullmatch(cell) and not _GROUPS[","].fullmatch(cell) for cell in cells)


def _number(cell: Any, name: str, decimal_comma: bool, commas: bool) -> float | None:
    """The number of a cell, NaN where it says that there is none, None where it is something else."""
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    if not isinstance(cell, str):
        return _as_float(cell)
    text = cell.strip()
    if text.lower() in _MISSING:
        return np.nan
    if name == "step" and (part := _OF_STEPS.fullmatch(text)):
        text = part[1]
    if name == "step" and any(_GROUPS[mark].fullmatch(text) for mark in ("." if commas else ",", _SPACES)):
        text = re.sub(r"[^0-9]", "", text)
    if decimal_comma and name != "step" and _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return _as_float(text) if _NUMBER.fullmatch(text) else None


def _as_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of JSON with hundreds of digits
        return np.inf


def _wrong(value: float, name: str) -> str | None:
    """What is expected of a finite number that the column cannot have."""
    if name == "step" and not np.isnan(value) and not (0 <= value <= _MOST_STEPS and value == np.floor(value)):
        return f"a whole number from 0 to {_MOST_STEPS:.0f}"
    if name == "learning_rate" and value < 0 and np.isfinite(value):
        return "a rate of 0 or above"
    return None


def _shown(cell: Any) -> str:
    text = str(cell).strip()
    return repr(text if len(text) <= 40 else f"{text[:40]}...") if text else "'missing'"


def increasing(step: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Rows in the order of their steps, one for each, and what was done to get there; later rows count.

    Where the steps fall back a few times only, with rows enough after each, the run went on from a checkpoint: what had
    been logged from that step on before is left out.
    """
    rows, notes = np.arange(len(step)), []
    falls = np.flatnonzero(np.diff(step) < 0) + 1
    lengths = np.diff(np.r_[0, falls, len(step)])
    if falls.size and lengths.min() >= _ROWS_OF_A_RESTART:
        for fall in falls:
            rows = rows[(rows >= fall) | (step[rows] < step[fall])]
        back = ", ".join(f"{step[fall]:.0f}" for fall in falls[:3]) + (", ..." if len(falls) > 3 else "")
        notes.append(f"the run went back to step {back}: {len(step) - len(rows)} earlier rows left out")
    elif falls.size:
        notes.append("sorted the rows by step")
    rows = rows[np.argsort(step[rows], kind="stable")]
    last = np.append(np.diff(step[rows]) > 0, True)[: len(rows)]
    if repeats := int(np.sum(~last)):
        notes.append(f"{repeats} {'row repeats a step' if repeats == 1 else 'rows repeat a step'}: the last one counts")
    return rows[last], notes


def gap_note(gaps: int, names: Sequence[str]) -> list[str]:
    """What is said about rows without a number."""
    what = " and ".join(names)
    return [f"left out {gaps} {'row' if gaps == 1 else 'rows'} without a finite {what}"] if gaps else []
