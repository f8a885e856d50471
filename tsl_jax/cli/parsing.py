"""Values of options that are more than a number."""

import re
from typing import Any

import typer

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
