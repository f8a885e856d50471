"""Values of options that are more than a number."""

import re
from typing import Any

import typer

#: Rows of a store that are named one by one.
MOST_ROWS = 200
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for ending, base in (("", 1000), ("b", 1000), ("ib", 1024))
}


def number_or_none(text: Any) -> float | None:
    """A number, or None for ``none``."""
    if str(text).lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"got {text!r}, expected a number or none") from None


def memory(text: Any) -> int:
    """Bytes of ``"2GiB"``, ``"500 MB"`` or ``"1000000"``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(text).lower())
    if match is None or match[2] not in _UNITS or not float(match[1]):
        raise typer.BadParameter(f"got {text!r}, expected a size such as 512MiB, 2GiB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2]])


def rows(text: Any) -> list[int] | None:
    """Rows of ``"3,17,100:105"``: numbers, and ranges without their end."""
    if not isinstance(text, str):
        return text
    found: list[range] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,15})(?::(\d{1,15}))?\s*", piece)
        if match is None:
            raise typer.BadParameter(f"got {text!r}, expected rows such as 3,17,100:105")
        first = int(match[1])
        found.append(range(first, int(match[2]) if match[2] else first + 1))
    if not 0 < sum(map(len, found)) <= MOST_ROWS:
        raise typer.BadParameter(f"got {sum(map(len, found)):,} rows, expected 1 to {MOST_ROWS}")
    return [row for piece in found for row in piece]
