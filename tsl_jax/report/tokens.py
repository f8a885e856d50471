"""The table of tokens, as data for the page: columns and rows of a sample, with losses and fits to draw."""

from typing import Any

import numpy as np

from ..fitting import Category, Status
from ..store import FitStore
from ..terminal_text import printable
from .findings import SampledTokens, Unavailable
from .words import domain_names


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
    stored, domains = found.fits, domain_names(fits)
    columns: dict[str, np.ndarray] = {"token": found.token}
    for name, values in found.coordinates.items():
        known = name == "domain" and domains and values.dtype.kind in "iu"
        columns[name] = np.array([domains[v] if 0 <= v < len(domains) else str(v) for v in values]) if known else values
    columns["category"] = np.array([Category(code).name for code in stored.category])
    for name in fits.parameters:
        columns[name] = stored.params[name]
        columns[f"{name} ±"] = stored.stderr[name]
    columns["r2"] = stored.r2
    if "learned" in stored.probabilities:
        columns["P(learned)"] = stored.probabilities["learned"]
    columns["status"] = np.array([Status(code).name for code in stored.status])
    return columns


def _cells(values: np.ndarray, digits: int = 5) -> list[Any]:
    """Numbers with few digits, text as a page may show it."""
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values.tolist()
    if values.dtype.kind == "f":
        return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]
    return [printable(str(value)) for value in values.tolist()]
