"""Losses of tables: a row a token and a column a step, or a row for each token and step."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .bundles import LOSS_NAMES, Wanted
from .incoming import IncomingLosses
from .long_table import read_long
from .steps import GIVE_STEPS, STEP_NAMES, number_in, step_in
from .tables import read_frames
from .wide_table import read_wide

if TYPE_CHECKING:
    import pandas

#: What a row is a token of, in long tables.
TOKEN_NAMES = ("token", "token_index", "token_idx", "index", "row", "example", "id")
#: What is known of a token, and kept.
TOKEN_COLUMNS = ("token_id", "position", "sequence", "domain", "token_frequency")
#: Columns that pandas writes of its own.
_OWN = re.compile(r"Unnamed: \d+|__index_level_\d+__|level_0")


class Frames:
    """Tables that are read several times, from their beginning.

    Args:
        name: of all of them.
        tables: files, or data frames in memory.
        steps: of each, where its name tells it.
        scratch: the folder in which temporary files may lie; None: where the system has them.
        losses: what the column of losses may be called.
    """

    def __init__(
        self,
        name: str,
        tables: Sequence[Any],
        steps: Sequence[int | None],
        scratch: Path | None,
        losses: Sequence[str] = LOSS_NAMES,
    ) -> None:
        self.name, self._tables, self._steps, self.scratch = name, tables, steps, scratch
        self.losses = frozenset(losses)
        self.text = any(isinstance(table, Path) and table.suffix not in (".parquet", ".pq") for table in tables)

    def __iter__(self) -> Iterator[Any]:
        """Data frames; rows of a table with losses but without a column of steps get the step in its name."""
        for table, step in zip(self._tables, self._steps, strict=True):
            first = 0
            for frame in read_frames(table) if isinstance(table, Path) else [table]:
                if any(frame.index.names):
                    frame = frame.reset_index()
                frame = frame.rename(columns=str)
                frame = frame[[name for name in frame if not _OWN.fullmatch(name)]]
                if step is not None and self.losses & set(frame) and not set(STEP_NAMES) & set(frame):
                    rows = range(first, first + len(frame))
                    frame = frame.assign(step=step, **({} if set(TOKEN_NAMES) & set(frame) else {"token": rows}))
                first += len(frame)
                yield frame


def losses_of_tables(frames: Frames, wanted: Wanted) -> IncomingLosses:
    """Losses of tables of either form.

    Raises:
        StoreError: the columns are of neither form, or a cell is no number.
    """
    header = next(iter(frames))
    if not len(header):
        raise StoreError(f"{frames.name}: has no rows, expected one a token, or one a token and step")
    names = [str(name) for name in header]
    step = next((name for name in STEP_NAMES if name in names), None)
    loss = next((name for name in wanted.loss_columns if name in names), None)
    if step and loss:
        token = [name for name in TOKEN_NAMES if name in names][:1]
        token = token or (["sequence", "position"] if {"sequence", "position"} <= set(names) else [])
        if not token:
            raise StoreError(
                f"{frames.name}: has columns {_shown(names)}, expected one that numbers the tokens: token, or sequence "
                "and position; add it, as in frame['token'] = row of the token in the data"
            )
        kept = [name for name in TOKEN_COLUMNS if name in names]
        return read_long(frames, step, loss, token, kept, wanted)
    if wanted.array and not loss:
        raise StoreError(
            f"{frames.name}: has no column {wanted.array!r} but {_shown(names)}; name another with --array"
        )
    if step:
        raise StoreError(
            f"{frames.name}: has columns {_shown(names)}: a column {step} but none called loss. A table has a row a "
            "token and a column a step, or columns token, step and loss; if it has a row a step and a column a token, "
            f"transpose it (in pandas: frame.set_index({step!r}).T), if losses are called otherwise name them with "
            "--array NAME"
        )
    columns = _step_columns(frames.name, header, names, wanted)
    if not columns:
        raise StoreError(
            f"{frames.name}: has columns {_shown(names)}, expected a column a step, called by it (100 or step_100), or "
            "columns token, step and loss; name the column of losses with --array NAME"
        )
    return read_wide(frames, columns, wanted)


def _step_columns(
    table: str, header: "pandas.DataFrame", names: Sequence[str], wanted: Wanted
) -> dict[str, int | None]:
    """Columns of losses and the step that each name tells.

    Raises:
        StoreError: what should be names are losses.
    """
    free = [name for name in names if name.lower() not in (*TOKEN_NAMES, *TOKEN_COLUMNS)]
    found: dict[str, int | None] = {name: step_in(name) for name in free if re.search(r"\d(?:\.0)?$", name)}
    given = wanted.checkpoints.get("step")
    numbers = [number for name in found if (number := number_in(name)) is not None and not number.is_integer()]
    if numbers and (given is None or numbers != sorted(set(numbers))):
        raise StoreError(
            f"{table}: its first line has {numbers[0]:g} where the step of a column is expected. If it holds losses, "
            f"put a line with the steps above it; else {GIVE_STEPS}"
        )
    if not found and given is not None:  # columns without numbers, whose steps are given
        found = {name: None for name in free if header[name].dtype.kind == "f"}
    return found


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
