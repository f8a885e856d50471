"""Names of the codes of a token coordinate."""

from collections.abc import Mapping
from typing import Any

from ..terminal_text import printable


def names_of_codes(attributes: Mapping[str, Any], coordinate: str) -> list[str]:
    """Names of the codes 0, 1, ... of a token coordinate, safe to show; empty where a store has none.

    Args:
        attributes: of the store; ``<coordinate>s`` lists the names, as ``domains`` those of `domain`.
        coordinate: its name.
    """
    names = attributes.get(f"{coordinate}s")
    return [printable(str(name)) for name in names] if isinstance(names, list) else []
