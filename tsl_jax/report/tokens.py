"""The table of tokens, as data for the page: columns and rows of a sample, with losses and fits to draw."""

from typing import Any

import numpy as np

from ..jobs.tables.columns import words_of
from ..store import FitStore
from ..terminal_text import printable
from .findings import SampledTokens, Unavailable


def token_table(fits: FitStore, found: SampledTokens | Unavailable) -> dict[str, Any]:
    """What the page's script shows, as JSON can hold it.

    Returns:
        ``columns`` with ``name`` and ``number`` (whether it holds numbers), ``rows`` of cells, ``axis``, and (token,
        checkpoint) ``losses`` (None without losses) and ``fitted``; NaN is None.
    """
    if isinstance(found, Unavailable):
        return {"columns": [], "rows": []}
    columns = _columns(fits, found)
    cells = [_cells(values) for values in columns.values()]
    return {
        "columns": [
            {"name": printable(name.replace("_", " ")), "number": np.asarray(values).dtype.kind in "iuf"}
            for name, values in columns.items()
        ],
        "rows": [list(row) for row in zip(*cells, strict=True)],
        "axis": _cells(found.axis),
        "axisName": found_axis(fits),
        "scale": fits.scale,
        "losses": None if found.losses is None else [_cells(row, 4) for row in found.losses],
        "fitted": [_cells(row, 4) for row in found.fitted],
    }


def found_axis(fits: FitStore) -> str:
    """The axis in words."""
    from ..plots.style import axis_label

    return printable(axis_label(fits.axis_name))


def _columns(fits: FitStore, found: SampledTokens) -> dict[str, np.ndarray]:
    stored = found.fits
    columns: dict[str, np.ndarray] = {"token": found.token, **found.coordinates, "category": stored.category}
    for name in fits.parameters:
        columns[name] = stored.params[name]
        columns[f"{name} ±"] = stored.stderr[name]
    columns["r2"] = stored.r2
    if "learned" in stored.probabilities:
        columns["P(learned)"] = stored.probabilities["learned"]
    columns["status"] = stored.status
    return {name: _in_words(values, words_of(name, values, fits.attributes)) for name, values in columns.items()}


def _in_words(codes: np.ndarray, words: dict[int, str] | None) -> np.ndarray:
    """Codes by their words, those without one as they are; numbers stay numbers."""
    return codes if words is None else np.array([words.get(int(code), str(code)) for code in codes])


def _cells(values: np.ndarray, digits: int = 5) -> list[Any]:
    """Numbers with few digits, text as a page may show it."""
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values.tolist()
    if values.dtype.kind == "f":
        return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
    return [printable(str(value)) for value in values.tolist()]
