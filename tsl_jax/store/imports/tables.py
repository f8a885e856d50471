"""Tables of any size as a sequence of data frames."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    import pandas

#: Files that are tables, by ending.
TABLES = (".parquet", ".pq", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl")
#: Cells of a table that are in memory at a time.
_CELLS = 2**22
#: Characters that no header has.
_HEADER = 2**24


def is_table(path: Path) -> bool:
    """Whether a file's ending says that it is a table."""
    return path.name.lower().endswith(TABLES)


def read_frames(path: Path) -> Iterator["pandas.DataFrame"]:
    """Rows of a table in order, some at a time.

    Raises:
        StoreError: the file cannot be read, is no table, or has no rows.
    """
    rows = 0
    try:
        for frame in _frames(path):
            rows += len(frame)
            yield frame
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file; check the path") from error
    except Exception as error:  # readers have errors of their own; all of them mean "not readable"
        said = str(error).removeprefix("Error tokenizing data. C error: ").splitlines()
        raise StoreError(
            f"{path}: is no table that can be read ({said[0][:200] if said else type(error).__name__}), expected a "
            "header line and a row a token, or a row a token and step"
        ) from error
    if not rows:
        raise StoreError(f"{path}: has no rows, expected one a token, or one a token and step")


def whole_table(path: Path) -> "pandas.DataFrame":
    """A table that fits into memory."""
    import pandas

    return pandas.concat(list(read_frames(path)), ignore_index=True)


def _frames(path: Path) -> Iterator["pandas.DataFrame"]:
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        yield from _parquet(path)
        return
    import pandas

    if name.endswith(".jsonl"):
        with contextlib.closing(pandas.read_json(path, lines=True, chunksize=2**15)) as reader:
            yield from reader
        return
    separator, columns = _header(path)
    options: dict[str, Any] = {"sep": separator, "chunksize": max(1, _CELLS // columns), "skipinitialspace": True}
    with contextlib.closing(pandas.read_csv(path, **options, encoding="utf-8-sig")) as reader:
        for frame in reader:
            if not isinstance(frame.index, pandas.RangeIndex):  # pandas took the first cells for names of the rows
                raise StoreError(
                    f"{path}: its rows have more cells than its header; name every column in the first line, or leave "
                    "out what ends each row"
                )
            yield frame


def _parquet(path: Path) -> Iterator["pandas.DataFrame"]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise StoreError(
            f"{path}: Parquet needs the package pyarrow. Install it with: pip install 'tsl_jax[parquet]'"
        ) from error
    with parquet.ParquetFile(path) as file:
        rows = max(1, _CELLS // max(1, len(file.schema_arrow.names)))
        for batch in file.iter_batches(batch_size=rows):
            frame = batch.to_pandas()
            yield frame.reset_index() if any(frame.index.names) else frame


def _header(path: Path) -> tuple[str, int]:
    """What stands between the cells of a text, and the number of columns."""
    import gzip

    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        line = file.readline(_HEADER)
    if len(line) == _HEADER:
        raise StoreError(f"{path}: its first line has more than {_HEADER:,} characters, expected names of columns")
    if not line.strip():
        raise StoreError(f"{path}: is empty, expected a header line and a row a token, or a row a token and step")
    separator = max(",\t;|", key=line.count)
    return separator, max(1, len(next(csv.reader([line], delimiter=separator))))
