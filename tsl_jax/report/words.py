"""Numbers and names as the page writes them."""

import math
from typing import Any

from ..plots.style import number

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
    """With so many digits in all."""
    return "–" if math.isnan(value) else f"{value:,.{digits}g}"


def interval(value: Any, low: Any, high: Any, form: str = ".3f") -> str:
    """``0.521 (0.483 to 0.556)``; without a band the value alone."""
    value, low, high = float(value), float(low), float(high)
    if math.isnan(value):
        return "–"
    return f"{value:{form}}" if math.isnan(low) else f"{value:{form}} ({low:{form}} to {high:{form}})"
