"""Tables of final losses by size: a row a run, with its parameters, its tokens or floating point operations."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .columns import OPTIONS, find_columns
from .rows import numbers
from .tables import LossCurveError, Table, read_table

#: Endings of numbers as people write them: ``400M``, ``1.4T``.
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_WITH_UNIT = re.compile(r"([0-9]*\.?[0-9]+)[ ]?([kmbgt])", re.IGNORECASE | re.ASCII)


class SizeRows(NamedTuple):
    """Runs of a table.

    Args:
        size: (runs,) parameters of the models.
        tokens: (runs,) tokens they were trained on.
        loss: (runs,) final losses, nat.
        notes: what was left out, or worked out.
        unique_tokens: (runs,) tokens of the data that each run repeats; ``None`` where the table does not say.
    """

    size: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    notes: tuple[str, ...]
    unique_tokens: np.ndarray | None = None


def read_sizes(path: str | Path, names: Mapping[str, str] | None = None, flops_per_token: float = 6.0) -> SizeRows:
    """Read a table of final losses, in any format of `read_loss_curve`.

    Args:
        path: of the file.
        names: what ``size``, ``tokens``, ``flops``, ``unique_tokens`` and ``final_loss`` are called.
        flops_per_token: operations for a parameter and a token, where a table has those instead of tokens.

    Returns:
        `SizeRows`; rows without all three numbers are left out.

    Raises:
        LossCurveError: a column is absent or there are several of it, a cell is no number, or no row is left.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("N,tokens,loss\\n25M,2B,3.4\\n100M,2B,3.1\\n")
        ...     file.flush()
        ...     read_sizes(file.name).size.tolist()
        [25000000.0, 100000000.0]
    """
    table = _without_units(read_table(path))
    places, notes = find_columns(table, ("size", "final_loss"), ("tokens", "flops", "unique_tokens"), dict(names or {}))
    if "tokens" not in places and "flops" not in places:
        raise LossCurveError(
            f"{table.path}: no column of training tokens or floating point operations among {table.header[:20]}, "
            f"expected such as 'tokens' or 'flops'; add it, or name it: {OPTIONS['tokens']} or {OPTIONS['flops']} NAME"
        )
    found = {name: numbers(table, name, place)[0] for name, place in places.items()}
    if "tokens" not in places:
        found["tokens"] = found["flops"] / (flops_per_token * found["size"])
        notes.append(f"tokens are operations / ({flops_per_token:g} * size)")
    size, tokens, loss = (found[name] for name in ("size", "tokens", "final_loss"))
    kept = np.all([np.isfinite(values) & (values > 0) for values in (size, tokens, loss)], axis=0)
    if not kept.any():
        raise LossCurveError(f"{table.path}: none of its {len(kept)} rows has a size, tokens and a loss above 0")
    if left := int(np.sum(~kept)):
        notes.append(f"left out {left} {'row' if left == 1 else 'rows'} without a size, tokens and a loss above 0")
    unique = found["unique_tokens"][kept] if "unique_tokens" in found else None
    return SizeRows(size[kept], tokens[kept], loss[kept], (*table.notes, *notes), unique)


def _without_units(table: Table) -> Table:
    return table._replace(rows=[[_plain(cell) for cell in row] for row in table.rows])


def _plain(cell: Any) -> Any:
    match = _WITH_UNIT.fullmatch(cell.strip()) if isinstance(cell, str) else None
    return float(match[1]) * _UNITS[match[2].lower()] if match else cell
