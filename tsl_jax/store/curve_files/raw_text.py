"""What stands around the rows of a curve's file: compression, comments, lines of logs, JSON about the records."""

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable, Mapping
from typing import Any

#: Compressed files by how they begin.
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
#: No compressed log is longer than this: its rows take some forty times as much memory.
_MOST_BYTES = 1 << 28
#: Nor has it a longer line: this is a million records of JSON in one.
_MOST_LINE = 1 << 26
#: How a file of Parquet begins.
PARQUET = b"PAR1"
#: Lines of llm.c's main.log (``s:10 trl:5.1 lr:0.0006``) and of modded-nanogpt (``step:10/3242 train_loss:5.1``).
_PAIRS_LINE = re.compile(r"^(?:s|step):\d+\S*(?:[ \t]|$).*$", re.MULTILINE)
_PAIR = re.compile(r"([A-Za-z_][\w/-]*):(\S+)")
#: Lines that llm.c and nanoGPT print: ``step 10/19560 | loss 5.1 | lr 6e-4``, ``iter 10: loss 5.1, time 9ms``.
_WORDS_LINE = re.compile(r"^(?:step|iter)[ \t]+(\d+)(?:/\d+)?[ \t]*[:|].*$", re.MULTILINE)
_WORD = re.compile(r"\b(train loss|val loss|loss|lr)[ :=]+([-+\w.]+)")
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_RULE = re.compile(r"[-|:+ \t]*-[-|:+ \t]*")


class TooLong(ValueError):
    """A file would fill the memory: what it has, and the way out."""


def whole(content: bytes) -> bytes:
    """What a file holds, out of gzip, bzip2 or xz where it is compressed so.

    Raises:
        EOFError, zlib.error, lzma.LZMAError, OSError: it is damaged.
        TooLong: it holds more than a log can, or has no end of a line for `_MOST_LINE` bytes; no more than these were
            taken out of it.
    """
    opened = next((opened for start, opened in _COMPRESSED.items() if content.startswith(start)), None)
    if opened is None:
        for first in range(0, len(content) if content[:4] != PARQUET else 0, _MOST_LINE):
            _check_line(content, first)
        return content
    pieces, size = [], 0
    with opened(io.BytesIO(content)) as file:
        while piece := file.read(_MOST_LINE):
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BYTES:
                raise TooLong(f"more than {_MOST_BYTES:,} bytes once unpacked; leave rows out, or unpack it first")
            if pieces[0][:4] != PARQUET:
                _check_line(piece, 0)
    return b"".join(pieces)


def _check_line(content: bytes, first: int) -> None:
    last = first + _MOST_LINE
    if last <= len(content) and content.find(b"\n", first, last) < 0 and content.find(b"\r", first, last) < 0:
        raise TooLong(f"a line of more than {_MOST_LINE:,} bytes; give a file with a row a line, or JSON lines")


def bare_rows(text: str) -> tuple[str, str | None]:
    """Delimited text with blank lines for what is no row, and the separator that a first line ``sep=;`` names.

    Lines that begin with # are comments, unless they are the header of numbers that follow; rules of dashes are no
    rows, and separators that end each row, but not the header, end no cell.
    """
    lines = text.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    separator = None
    if filled and (named := _SEPARATOR.fullmatch(lines[filled[0]].strip())):
        separator, lines[filled[0]] = named[1], ""
        filled = filled[1:]
    comments = [number for number in filled if lines[number].lstrip().startswith("#")]
    data = [number for number in filled if number not in set(comments)]
    before = [number for number in comments if data and number < data[0]]
    if before and re.fullmatch(r"[-+\d.eE\s,;|]+", lines[data[0]]):
        lines[before[-1]] = lines[before[-1]].lstrip(" #\t")
        comments.remove(before[-1])
        data.insert(0, before[-1])
    for number in comments:
        lines[number] = ""
    for number in data:
        if _RULE.fullmatch(lines[number]):
            lines[number] = ""
    if len(data) > 1:
        last = separator or lines[data[1]].rstrip()[-1:]
        more = lines[data[1]].count(last) == lines[data[0]].count(last) + 1
        if last in (",", ";", "|") and more and all(lines[number].rstrip().endswith(last) for number in data[1:]):
            for number in data[1:]:
                lines[number] = lines[number].rstrip()[:-1]
    return "\n".join(lines), separator


def log_records(text: str) -> dict[int, dict[str, Any]]:
    """Records of a log by the number of their line; none where it is no log of a known kind."""
    found = {}
    for match in _PAIRS_LINE.finditer(text):
        found[text.count("\n", 0, match.start()) + 1] = dict(_PAIR.findall(match.group()))
    if found:
        return found
    for match in _WORDS_LINE.finditer(text):
        values = {name.replace(" ", "_"): value for name, value in _WORD.findall(match.group())}
        if values:
            found[text.count("\n", 0, match.start()) + 1] = {"step": match[1], **values}
    return found


def records_of(found: Any) -> Any:
    """The list of records in parsed JSON.

    ``trainer_state.json``, a list for each column, the only list of records under some name, lists of records by run,
    and TensorBoard's lists of wall time, step and value; anything else is left as it is, a mapping as one record.
    """
    if isinstance(found, list) and found and all(_is_tensorboard(row) for row in found):
        return [dict(zip(("Wall time", "Step", "Value"), row, strict=True)) for row in found]
    if not isinstance(found, Mapping):
        return found
    lists = {name: values for name, values in found.items() if isinstance(values, list)}
    if isinstance(found.get("log_history"), list):
        return found["log_history"]
    of_records = {
        name: values for name, values in lists.items() if values and all(isinstance(row, Mapping) for row in values)
    }
    if len(of_records) == 1:
        return next(iter(of_records.values()))
    if of_records and len(of_records) == len(found):
        return [{"run": name} | dict(row) for name, rows in of_records.items() for row in rows]
    if lists and len({len(values) for values in lists.values()}) == 1:
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return [found]


def _is_tensorboard(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(isinstance(cell, int | float) for cell in row)
