"""Attributes of a store, which are JSON."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import StoreError


def as_json(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes with NumPy's and JAX's numbers and arrays as Python's, so that any reader of JSON takes them.

    Raises:
        StoreError: a number that JSON does not have, or a value that is no text, number, list or mapping.

    Example:
        >>> as_json({"runs": np.int64(3), "rate": np.float32(0.5), "names": ("a", "b")})
        {'runs': 3, 'rate': 0.5, 'names': ['a', 'b']}
    """
    return {_name(name, "attributes"): _plain(value, f"attributes[{name!r}]") for name, value in _items(attributes)}


def _items(attributes: Mapping[str, Any] | None):
    if attributes is not None and not isinstance(attributes, Mapping):
        raise StoreError(f"attributes: got {type(attributes).__name__}, expected a mapping of values by name")
    return (attributes or {}).items()


def _name(name: Any, where: str) -> str:
    if isinstance(name, bool) or not isinstance(name, str | int | np.integer):
        raise StoreError(f"{where}: got the name {name!r}, expected text")
    return str(name)


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {_name(name, where): _plain(item, f"{where}[{name!r}]") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        python = value.tolist()
        return _plain(python, where) if type(python) is not type(value) else _refuse(value, where)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise StoreError(f"{where}: got {value}, which JSON does not have; give None or a text, or leave it out")
    return _refuse(value, where)


def _refuse(value: Any, where: str) -> Any:
    raise StoreError(
        f"{where}: got {type(value).__name__}, expected text, a number, True, False, None, or lists and mappings of "
        "them; convert it, for example with str()"
    )
