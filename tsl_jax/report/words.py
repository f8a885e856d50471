"""Numbers and names as the page writes them."""

import math
from collections.abc import Callable
from typing import Any

from ..plots.style import number

#: Longer numbers are written with a power of ten.
_MOST_DIGITS = 9
__all__ = ["count", "fixed", "interval", "number", "percent", "significant"]


def count(value: float | None) -> str:
    """A whole number: ``25,600``."""
    return "unknown" if value is None else f"{value:,.0f}"


def percent(value: float, digits: int = 1) -> str:
    """A share: ``12.3%``."""
    return "–" if math.isnan(value) else f"{value:.{digits}%}"


def fixed(value: float, digits: int = 3) -> str:
    """With so many places after the point."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def significant(value: float, digits: int = 4) -> str:
    """With so many digits in all, but whole numbers whole: ``2.947``, ``31,770``."""
    if math.isnan(value):
        return "–"
    whole = 10**digits <= abs(value) < 10**_MOST_DIGITS
    return f"{float(f'{value:.{digits}g}'):,.0f}" if whole else f"{value:,.{digits}g}"


def interval(value: Any, low: Any, high: Any, write: Callable[[float], str] = fixed) -> str:
    """``0.521 (0.483 to 0.556)``; without a band the value alone."""
    value, low, high = float(value), float(low), float(high)
    if math.isnan(value):
        return "–"
    return write(value) if math.isnan(low) else f"{write(value)} ({write(low)} to {write(high)})"
