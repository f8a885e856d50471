"""Fits as a small table for notebooks."""

from html import escape
from typing import Any

import numpy as np

from ...fitting import Category, Fit, Status
from ...fitting.description import code_counts, in_words, rising_of
from ...store import FitStore


def to_html(fits: Fit | FitStore) -> str:
    """What was fitted, how the fits ended, and medians of the parameters, as a table in HTML; all names are escaped.

    Args:
        fits: in memory, or an open store, of which only the record of finished blocks is read.
    """
    return _table(*(_of_store(fits) if isinstance(fits, FitStore) else _of_fit(fits)))


def _of_fit(fit: Fit) -> tuple[str, list[tuple[str, str]]]:
    shape = np.shape(fit.status)
    number = f"{shape[0]:,} curves" if len(shape) == 1 else f"shape {shape}"
    statuses, categories = code_counts(fit)
    rows = [("family", repr(fit.family)), *_counted(statuses, categories, rising_of(fit))]
    if statuses:
        for parameter in fit.family.parameters:
            values = np.asarray(fit.params[parameter.name], np.float64)
            known = values[np.isfinite(values)]
            unit = "" if parameter.unit == "axis" else f" {parameter.unit}"
            median = f"{np.median(known):.4g}{unit}" if known.size else "none"
            rows.append((f"median {parameter.name.replace('_', ' ')}", median))
    return f"Fit of {number}", rows


def _of_store(fits: FitStore) -> tuple[str, list[tuple[str, str]]]:
    statuses = {Status(code).name: number for code, number in fits.ledger.status_counts().items() if number}
    categories = {Category(code).name: number for code, number in fits.ledger.category_counts().items() if number}
    done = sum(statuses.values())
    rows = [
        ("store", fits.name),
        ("family", f"{fits.family}, over {fits.axis_name} ({fits.scale})"),
        ("tokens", f"{fits.num_tokens:,} x {fits.num_checkpoints} checkpoints"),
        ("fitted", "all" if fits.complete else f"{done:,} tokens; run the same command again to go on"),
        *_counted(statuses, categories, fits.ledger.noted("learned_rising")),
        ("coordinates", ", ".join(fits.token_coordinates) or "none"),
    ]
    return "Fit store", rows


def _counted(statuses: dict[str, int], categories: dict[str, int], rising: int) -> list[tuple[str, str]]:
    if set(categories) <= {"NONE"}:
        categories = {}
    named = (("status", statuses), ("category", categories))
    most_first = ((name, dict(sorted(counts.items(), key=lambda item: -item[1]))) for name, counts in named)
    return [(name, in_words(counts, rising)) for name, counts in most_first if counts]


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    def cell(kind: str, text: Any) -> str:
        return f'<{kind} style="text-align: left">{escape(str(text))}</{kind}>'

    lines = "".join(f"<tr>{cell('th', name)}{cell('td', value)}</tr>" for name, value in rows)
    return f"<table><caption>{escape(title)}</caption>{lines}</table>"
