"""Columns of data frames as numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StoreError

if TYPE_CHECKING:
    import pandas


#: The way out for a cell that is no number.
_REPAIR = "expected numbers; repair the cell, or leave it empty if the loss was not measured"
#: The way out for columns of no numbers, by the kind of their dtype.
_CURES = {
    "b": "True and False are no measured values: convert with .astype('float32') if 0 and 1 are meant",
    "c": "take the real part, if that is meant",
    "m": "divide by a unit, as in t / numpy.timedelta64(1, 's')",
    "M": "subtract a start and divide by a unit, as in (t - t[0]) / numpy.timedelta64(1, 's')",
}


def real_column(table: str, frame: "pandas.DataFrame", name: str, cure: str = _REPAIR) -> np.ndarray:
    """A column of real numbers; empty cells are NaN.

    Raises:
        StoreError: a cell is none, or the column is absent or there twice.
    """
    column = _column(table, frame, name)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        return column.to_numpy()
    if column.dtype.kind in "bcmM":
        raise StoreError(
            f"{table}: column {name!r} has dtype {column.dtype}, expected numbers; {_CURES[column.dtype.kind]}"
        )
    import pandas

    numbers: Any = pandas.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna() & column.notna())
    if bad.size:
        cell = column.iloc[int(bad[0])]
        raise StoreError(
            f"{table}: column {name!r} holds {str(cell)[:40]!r} (row {numbers.index[int(bad[0])]}), {cure}"
        )
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def whole_column(table: str, frame: "pandas.DataFrame", name: str) -> np.ndarray:
    """A column of whole numbers.

    Raises:
        StoreError: a cell is none.
    """
    cure = "expected whole numbers, such as the number of each token in the data and the training step"
    values = real_column(table, frame, name, cure)
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    bad = np.flatnonzero(~(np.abs(values) < 2.0**63) | (values != np.rint(values)))
    if bad.size:
        raise StoreError(
            f"{table}: column {name!r} holds {values[bad[0]]} (row {frame.index[int(bad[0])]}), expected whole numbers "
            "in every row, below 2^63"
        )
    return values.astype(np.int64)


class Names:
    """Texts as numbers, in the order in which they come."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def numbers(self, table: str, frame: "pandas.DataFrame", name: str) -> np.ndarray:
        """A column of whole numbers as it is, one of texts as the number of each."""
        column = _column(table, frame, name)
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf" and not self.of:
            return whole_column(table, frame, name)
        codes, texts = column.factorize()
        if (codes < 0).any():
            raise StoreError(f"{table}: column {name!r} has an empty cell, expected a value in every row")
        known = np.array([self.of.setdefault(str(text), len(self.of)) for text in texts], np.int64)
        return known[codes] if len(known) else codes.astype(np.int64)

    def attributes(self, name: str) -> dict[str, Any]:
        """What the store says of them."""
        return {f"{name}s": list(self.of)} if self.of else {}


def _column(table: str, frame: "pandas.DataFrame", name: str) -> Any:
    if name not in frame:
        raise StoreError(f"{table}: a part of it has no column {name!r}; expected the same columns everywhere")
    column = frame[name]
    if column.ndim > 1:
        raise StoreError(f"{table}: has two columns {name!r}; rename one of them")
    return column


def smallest(values: np.ndarray) -> np.ndarray:
    """Whole numbers in 32 bits where they fit."""
    fits = not values.size or (values.min() >= -(2**31) and values.max() < 2**31)
    return values.astype(np.int32 if fits else np.int64)
