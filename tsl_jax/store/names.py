"""Arguments of what writes a store: names of coordinates, which are names of arrays, and of folders on a disk."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import StoreError

#: What a store has of its own.
_TAKEN = ("losses", "zarr.json")
_LONGEST = 200


def checked_names(**columns: Any) -> None:
    """Refuse coordinates that are not given by name, and names that an array cannot have.

    Args:
        columns: mappings of coordinates by name, by the name of the argument.

    Raises:
        StoreError: what is wrong with which name, and what to give instead.
    """
    seen: dict[str, str] = {}
    for argument, given in columns.items():
        if not isinstance(given, Mapping):
            example = {"checkpoints": "{'step': [0, 100, 1000]}"}.get(argument, "{'position': [0, 1, 2]}")
            raise StoreError(f"{argument}: got {type(given).__name__}, expected coordinates by name, such as {example}")
        for name in given:
            cause = _why_not(name) or (f"is a name in {seen[name]} too" if name in seen else None)
            if cause:
                raise StoreError(f"{argument}: the name {_shown(name)} {cause}; give the coordinate another name")
            seen[name] = argument


@contextlib.contextmanager
def as_store_errors() -> Iterator[None]:
    """What checks of arguments raise, as the error that all of a store's are."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise StoreError(str(error)) from error


def _why_not(name: Any) -> str | None:
    if not isinstance(name, str):
        return "is no text"
    if not name.strip():
        return "is empty"
    if name in _TAKEN or name.startswith("__"):
        return "belongs to the store itself"
    if "/" in name or "\\" in name or not name.strip("."):
        return "reads as a path"
    if not name.isprintable():
        return "has characters that cannot be printed"
    if name.split() != [name]:
        return "has blanks, which part the names in the attribute 'coordinates'"
    if len(name.encode("utf-8", "replace")) > _LONGEST:
        return f"is longer than {_LONGEST} bytes"
    return None


def _shown(name: Any) -> str:
    shown = repr(name)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
