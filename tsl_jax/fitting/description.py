"""A fit in a line."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..arguments import is_traced
from .codes import Category, Status


def code_counts(fit: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Curves by status and by category, those that occur, most frequent first; empty where they are not known here."""
    return tuple(_counted(values, codes) for values, codes in ((fit.status, Status), (fit.category, Category)))  # type: ignore[return-value]


def rising_of(fit: Any) -> int:
    """Curves that are LEARNED by a loss that rises; 0 where that is not known here."""
    if "LEARNED" not in code_counts(fit)[1] or "loss_drop" not in fit.params:
        return 0
    return int(np.sum((np.asarray(fit.category) == Category.LEARNED) & (np.asarray(fit.params["loss_drop"]) < 0)))


def _counted(values: Any, codes: type[Status] | type[Category]) -> dict[str, int]:
    known = isinstance(values, np.ndarray | np.generic) or (
        isinstance(values, jax.Array) and not is_traced(values) and values.is_fully_addressable
    )
    if not known:
        return {}
    found, counts = np.unique(np.asarray(values), return_counts=True)
    names = {int(code): code.name for code in codes}
    counted = {names.get(int(code), f"code {code}"): int(n) for code, n in zip(found, counts, strict=True)}
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def in_words(counts: Mapping[str, int], rising: int = 0) -> str:
    """Counts as ``"120 LEARNED (9 rising), 8 LATE"``."""
    of_learned = {"LEARNED": f" ({rising:,} rising)"} if rising else {}
    return ", ".join(f"{number:,} {name}{of_learned.get(name, '')}" for name, number in counts.items())


def describe_fit(fit: Any) -> str:
    """Number of curves, the family, and how the fits ended."""
    shape = getattr(fit.status, "shape", None)
    if shape is None:  # a pytree of something else, as JAX makes them
        return f"Fit({fit.family!r}, status={fit.status!r})"
    statuses, categories = code_counts(fit)
    number = f"shape {shape}" if len(shape) != 1 else f"{shape[0]:,} curves"
    if set(categories) == {"NONE"}:
        categories = {}
    words = [text for text in (in_words(statuses), in_words(categories, rising_of(fit))) if text]
    return f"Fit({fit.family!r}, {'; '.join([number, *words])})"
