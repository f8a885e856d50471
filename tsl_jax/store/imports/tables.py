"""Tables of any size as a sequence of data frames."""

import contextlib
import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import StoreError
from ..refusals import readable

if TYPE_CHECKING:
    import pandas

#: Files that are tables, by ending.
TABLES = (".parquet", ".pq", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl")
#: Cells of a table that are in memory at a time.
_CELLS = 2**22
#: Bytes that rows which are read together never take, four times as many as the first rows of a table lead to expect.
_CELL_BYTES = 2**28
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
        with readable():
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
        with _opened(path, "rb") as file:
            rows = min(2**15, _rows_of(file.read(2**16)))
        with (
            _BoundedText(path) as file,
            contextlib.closing(pandas.read_json(file, lines=True, chunksize=rows)) as reader,
        ):
            yield from file.bounded(cast("Iterator[pandas.DataFrame]", reader))
        return
    separator, rows = _header(path)
    options: dict[str, Any] = {"sep": separator, "chunksize": rows, "skipinitialspace": True}
    with (
        _BoundedText(path) as file,
        contextlib.closing(pandas.read_csv(file, **options, encoding="utf-8-sig")) as reader,
    ):
        for frame in file.bounded(reader):
            if not isinstance(frame.index, pandas.RangeIndex):  # pandas took the first cells for names of the rows
                raise StoreError(
                    f"{path}: its rows have more cells than its header; name every column in the first line, or leave "
                    "out what ends each row"
                )
            yield frame


def _opened(path: Path, mode: str, **options: Any) -> Any:
    return (gzip.open if path.name.lower().endswith(".gz") else open)(path, mode, **options)


class _BoundedText(io.BufferedReader):
    """A table's text, out of gzip where it is compressed so, of which a frame takes a bounded number of bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(_BoundedBytes(path), 2**16)

    def bounded(self, frames: Iterator["pandas.DataFrame"]) -> Iterator["pandas.DataFrame"]:
        """The frames; raises `StoreError` where one takes more, which readers of pandas would say in other words."""
        counted: Any = self.raw
        try:
            for frame in frames:
                counted.taken = 0
                yield frame
        except Exception as error:
            if counted.refused is not None:
                raise counted.refused from error
            raise


class _BoundedBytes(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._path, self._file, self.taken, self.refused = path, _opened(path, "rb"), 0, None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.taken += (count := self._file.readinto(buffer))
        if self.taken > _CELL_BYTES:
            self.refused = StoreError(
                f"{self._path}: some rows take more than {_CELL_BYTES:,} bytes, expected numbers and short texts; a "
                "cell holds a whole text, or a quote is not closed: repair it, or leave out that column"
            )
            raise self.refused
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


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
    """What stands between the cells of a text, and how many rows are read at a time."""
    with _opened(path, "rt", encoding="utf-8-sig") as file:
        line, below = file.readline(_HEADER), file.read(2**16)
    if len(line) == _HEADER:
        raise StoreError(f"{path}: its first line has more than {_HEADER:,} characters, expected names of columns")
    if not line.strip():
        raise StoreError(f"{path}: is empty, expected a header line and a row a token, or a row a token and step")
    separator = max(",\t;|", key=line.count)
    cells = max(1, len(next(csv.reader([line], delimiter=separator))))
    return separator, min(max(1, _CELLS // cells), _rows_of(below.encode()))


def _rows_of(text: bytes) -> int:
    """How many rows like those of the beginning of a text are read at a time."""
    wide = len(text) // (text.count(b"\n") + 1)
    return max(1, _CELL_BYTES // (4 * wide + 1))
