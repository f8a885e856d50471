"""Tables of a row a token and a column a step."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StoreError
from .bundles import Wanted
from .cells import Names, real_column, smallest
from .incoming import IncomingLosses, LossMatrix
from .scratch import Scratch
from .source_array import of_numpy
from .steps import GIVE_STEPS

if TYPE_CHECKING:
    from .table_losses import Frames


def read_wide(frames: "Frames", columns: Mapping[str, int | None], wanted: Wanted) -> IncomingLosses:
    """Losses of a table, row after row.

    Args:
        frames: the table.
        columns: names of columns of losses, and the step of each.
        wanted: steps that were given are those of the columns in order.

    Raises:
        StoreError: two columns have one step, or a cell is no number.
    """
    order, checkpoints = _order(frames.name, columns, wanted)
    header = next(iter(frames))
    others = {name: name in KEPT or header[name].dtype.kind in "iu" for name in header if name not in columns}
    kept: dict[str, list[np.ndarray]] = {name: [] for name, is_kept in others.items() if is_kept}
    names, rows = {name: Names() for name in kept}, 0
    dtype = np.result_type(*(real_column(frames.name, header, name).dtype for name in order))
    dtype = np.dtype(np.float32) if frames.text else dtype if dtype.kind == "f" else np.dtype(np.float64)
    with Scratch(frames.scratch, dtype) as scratch:
        for frame in frames:
            scratch.append(np.column_stack([real_column(frames.name, frame, name) for name in order]))
            rows += len(frame)
            for name, parts in kept.items():
                parts.append(smallest(names[name].numbers(frames.name, frame, name)))
        matrix = of_numpy(frames.name, scratch.mapped((rows, len(order))))
    left = [name for name, is_kept in others.items() if not is_kept]
    tokens = {name: np.concatenate(parts) for name, parts in kept.items()}
    for name in ("token", "index", "row", "id"):  # the number of the row tells nothing
        if name in tokens and np.array_equal(tokens[name], np.arange(rows)):
            del tokens[name]
    return IncomingLosses(
        name=frames.name,
        losses=LossMatrix(matrix),
        checkpoint_coordinates=checkpoints,
        token_coordinates=tokens,
        attributes={key: value for name, known in names.items() for key, value in known.attributes(name).items()},
        notes=(f"left out the columns {', '.join(sorted(left))}",) if left else (),
        held=True,
    )


#: Columns that are kept even as text.
KEPT = ("domain",)


def _order(table: str, columns: Mapping[str, int | None], wanted: Wanted) -> tuple[list[str], dict[str, np.ndarray]]:
    """Columns by step, and the coordinates of the checkpoints."""
    order, steps = list(columns), dict(columns)
    if None not in steps.values():
        order.sort(key=lambda name: steps[name] or 0)
        for one, other in itertools.pairwise(order):
            if steps[one] == steps[other] and "step" not in wanted.checkpoints:
                raise StoreError(f"{table}: columns {one} and {other} have the same step; rename one, or {GIVE_STEPS}")
    given = wanted.checkpoints.get("step")
    if given is not None and given.size != len(order):
        raise StoreError(
            f"{table}: got {given.size} steps, expected {len(order)}, one for each of the columns {order[0]} to "
            f"{order[-1]}"
        )
    own = {} if given is not None else {"step": np.array([steps[name] for name in order])}
    return order, {**own, **wanted.checkpoints}
