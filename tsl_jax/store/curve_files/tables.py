"""Files of loss curves as tables of cells: delimited text, JSON, JSON lines, key:value logs and Parquet."""

import decimal
import io
import json
import lzma
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import StoreError
from ..refusals import readable
from .raw_text import PARQUET, TooLong, bare_rows, log_records, records_of, whole

#: Endings by which a name that is no store is taken for a curve, even before it is looked at.
CURVE_FILES = (".csv", ".tsv", ".txt", ".log", ".json", ".jsonl", ".ndjson", ".parquet")
#: Said of a file that is being written, or was cut off.
_CUT = "left out the last line, which is not whole"


class LossCurveError(StoreError):
    """A file is not a loss curve: which line, what came, what is expected, and the way out."""


class Table(NamedTuple):
    """Cells as the file has them.

    Args:
        path: of the file.
        header: names of the columns.
        rows: cells of each row: text, numbers, or None where a row has no such cell.
        places: where each row is, for messages, such as ``line 3``.
        notes: what was left out already.
        decimal_comma: whether ``5,25`` can be a number: where commas do not stand between cells.
    """

    path: str
    header: list[str]
    rows: Sequence[Sequence[Any]]
    places: list[str]
    notes: tuple[str, ...] = ()
    decimal_comma: bool = False


def read_table(path: str | Path) -> Table:
    """Read a file whose kind its content tells.

    Raises:
        LossCurveError: it cannot be read, is empty, is no text or is damaged.
    """
    path = Path(path)
    try:
        with readable(LossCurveError):
            if path.exists() and not path.is_file():
                raise LossCurveError(f"{path}: is no file; give the path of a CSV file, or of a loss store")
            content = path.read_bytes()
    except LossCurveError:
        raise
    except OSError as error:
        raise LossCurveError(f"{path}: cannot be read ({error.strerror}); give the path of a CSV file") from error
    except ValueError as error:
        raise LossCurveError(f"{str(path)!r}: is no path ({error})") from error
    try:
        content = whole(content)
    except TooLong as error:
        raise LossCurveError(f"{path}: has {error}") from error
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise LossCurveError(f"{path}: is compressed, and damaged ({error}); restore the file") from error
    if content[:4] == PARQUET:
        return _parquet(path, content)
    text = _decoded(path, content)
    if not text.strip():
        raise LossCurveError(f"{path}: is empty, expected a header line such as 'step,lr,loss' and a row a checkpoint")
    if text.lstrip()[0] in "{[":
        return _json(path, text)
    if records := log_records(text):
        return _of_records(path, list(records.values()), [f"line {number}" for number in records])
    return _delimited(path, text)


def _decoded(path: Path, content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if len(content) > 3 and not any(content[1:64:2]) and all(content[:64:2]):
        encoding = "utf-16-le"  # without its mark
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise LossCurveError(f"{path}: is not text; give a CSV file with columns step, lr and loss") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise LossCurveError(f"{path}, line {line}: holds a NUL, expected text; the file is damaged, copy it again")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _delimited(path: Path, text: str) -> Table:
    """Comma, semicolon, tab, bar or blanks between cells; a line that was not written to its end is left out."""
    import pandas

    text, said = bare_rows(text)
    before = len(text) - len(text.lstrip("\n \t"))
    first = text.count("\n", 0, before)
    head = re.sub(r'"[^"\n]*"', "", text[before:].partition("\n")[0])
    separator = said or max(",;\t|", key=head.count)
    options: dict[str, Any] = {"sep": separator if separator in head else r"\s+"}
    try:
        frame = pandas.read_csv(
            io.StringIO(text),
            **options,
            header=None,
            dtype=object,
            keep_default_na=False,
            skip_blank_lines=False,
            skiprows=first,
            skipinitialspace=True,
        )
    except ValueError as error:  # pandas' ParserError is one
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise LossCurveError(
            f"{path}: is no table ({reason[:200]}), expected a line a row with as many cells as the header; repair it"
        ) from error
    cells = frame.to_numpy().tolist()
    places = [f"line {first + number}" for number in range(1, len(cells) + 1)]
    filled = [k for k, row in enumerate(cells) if any(cell.strip() for cell in row)]
    if not filled:
        raise LossCurveError(f"{path}: holds no cell with text, expected a header line such as 'step,lr,loss'")
    header = [cell.strip() for cell in cells[filled[0]]]
    short = _short_lines(text.split("\n")[first:], len(cells), len(header), options["sep"]) & set(filled)
    notes = ()
    if short == {filled[-1]} and len(filled) > 2:
        filled, notes = filled[:-1], (_CUT,)
    elif short:
        raise LossCurveError(
            f"{path}, {places[min(short)]}: has fewer cells than the header, expected {len(header)}; repair or delete "
            "the line"
        )
    body = [k for k in filled[1:] if [cell.strip() for cell in cells[k]] != header]
    if len(body) < len(filled) - 1:
        notes += ("left out header lines that come again",)
    rows, kept = [cells[k] for k in body], [places[k] for k in body]
    return Table(str(path), header, rows, kept, notes, decimal_comma=separator != "," and separator in head)


def _short_lines(lines: list[str], rows: int, width: int, separator: str) -> set[int]:
    """Lines with fewer cells than the header: pandas takes what they lack for empty cells, at their end."""
    if len(lines) - rows not in (0, 1):
        return set()  # cells with line breaks in them
    bare = [re.sub(r'"[^"]*"', "x", line) for line in lines[:rows]]
    counts = [len(line.split()) if separator == r"\s+" else line.count(separator) + 1 for line in bare]
    return {number for number, count in enumerate(counts) if count < width}


def _json(path: Path, text: str) -> Table:
    """A list of records, Hugging Face's ``trainer_state.json``, a list for each column, or a record a line."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return _json_lines(path, text)
    found = records_of(found)
    if not all(isinstance(record, Mapping) for record in found):
        raise LossCurveError(
            f"{path}: holds JSON, but no records, expected a list of records such as {{'step': 1, 'loss': 5.0}}, one a "
            "line, or a trainer_state.json"
        )
    return _of_records(path, found, [f"record {number}" for number in range(1, len(found) + 1)])


def _json_lines(path: Path, text: str) -> Table:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    records, notes = [], ()
    for number, line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == lines[-1][0] and records:
                notes = (_CUT,)
                break
            reason = "too deep" if isinstance(error, RecursionError) else error
            raise LossCurveError(f"{path}, line {number}: is no JSON ({reason}); repair or delete the line") from error
        if not isinstance(record, Mapping):
            raise LossCurveError(f"{path}, line {number}: is no record, expected such as {{'step': 1, 'loss': 5.0}}")
        records.append(record)
    places = [f"line {number}" for number, _ in lines[: len(records)]]
    return _of_records(path, records, places)._replace(notes=notes)


def _of_records(path: Path, records: Sequence[Mapping[str, Any]], places: list[str]) -> Table:
    """Records within records are columns such as ``train/loss``."""
    flat = [_flat(record) for record in records]
    header = list(dict.fromkeys(name for record in flat for name in record))
    return Table(str(path), header, [[record.get(name) for name in header] for record in flat], places)


def _flat(record: Mapping[str, Any], before: str = "", depth: int = 3) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping) and depth:
            cells |= _flat(value, f"{before}{name}/", depth - 1)
        else:
            cells[f"{before}{name}"] = "" if value is None else value
    return cells


def _parquet(path: Path, content: bytes) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise LossCurveError(f"{path}: Parquet files need pyarrow: pip install 'tsl_jax[parquet]'") from error
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        raise LossCurveError(f"{path}: cannot be read as Parquet ({str(error)[:200]}); restore the file") from error
    names = [name for name in table.column_names if _is_simple(table.schema.field(name).type)]
    columns = [[_simple(cell) for cell in table.column(name).to_pylist()] for name in names]
    for index in (table.schema.pandas_metadata or {}).get("index_columns", ()):
        if isinstance(index, dict) and index.get("kind") == "range" and index.get("name"):
            names.append(str(index["name"]))
            columns.append(list(range(index["start"], index["stop"], index["step"])))
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table(str(path), names, rows, [f"row {number}" for number in range(1, len(rows) + 1)])


def _simple(cell: Any) -> Any:
    if cell is None:
        return ""
    return float(cell) if isinstance(cell, decimal.Decimal) else cell


def _is_simple(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):  # pandas' categories
        return _is_simple(kind.value_type)
    return any(
        is_kind(kind)
        for is_kind in (types.is_floating, types.is_integer, types.is_decimal, types.is_string, types.is_large_string)
    )
