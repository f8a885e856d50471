"""The numbers that `tsl spectrum` prints, as tables."""

import math
from collections.abc import Callable
from typing import Any

from ...jobs import Analysis
from ..content import ReportTable
from ..words import interval, percent, significant

_SCORES = {
    "mean fit of mean loss": "R²: mean of the fits against the mean loss",
    "fitted of observed": "R²: derivative of the fits against that of the mean loss",
    "convolved of observed": "R²: p * g against the derivative of the mean loss",
    "convolved of implied": "R²: p * g against the derivative of the fits",
}
_MODES = {"all pulses": "single pulses", "unit area": "single pulses of area 1", "group means": "means of groups"}


def check_tables(analysis: Analysis) -> list[ReportTable]:
    """Tail and law of the mean loss, agreement with the mean loss, and what the picture rests on."""
    tables = [
        ReportTable("Tail", ("", "value", ""), _tail(analysis), words=(0, 2)),
        ReportTable("Checks against the mean loss", ("", "value"), _comparison(analysis)),
        ReportTable("What the spectrum rests on", ("", "value", ""), _foundations(analysis), words=(0, 2)),
    ]
    return [table for table in tables if table.rows]


def banded(analysis: Analysis, get: Callable[[Any], Any], form: str = ".3f") -> str:
    """What ``get`` takes out of the curves, with its band, in words."""
    bands = analysis.curves
    return interval(get(bands.value), get(bands.low), get(bands.high), lambda one: f"{one:{form}}")


def broadening_warning(analysis: Analysis) -> list[str]:
    """Whether errors of learning times are what the spectrum shows."""
    found = analysis.curves.value.broadening
    if math.isinf(float(found.ratio)):
        return [
            "Errors of learning times alone would explain the width of the spectrum: its form says nothing of the true "
            "learning times."
        ]
    if float(found.error) > float(found.bin):
        return [
            f"Errors of learning times ({significant(float(found.error), 3)} in u, root mean square) are wider than "
            f"the spectrum's bins ({significant(float(found.bin), 2)})."
        ]
    return []


def _tail(analysis: Analysis) -> list[tuple[str, str, str]]:
    tail = analysis.curves.value.tails["count"]
    if math.isnan(float(tail.exponent)):
        return []
    axis, law = analysis.read.axis_name, analysis.mean_loss_law
    share = f"{percent(float(tail.share), 0)} of the events whose loss falls"
    rows = [
        ("exponent γ of p ∝ axis^-γ", banded(analysis, lambda c: c.tails["count"].exponent), share),
        ("γ weighted by drop", banded(analysis, lambda c: c.tails["drop"].exponent), ""),
        ("from", significant(float(tail.lower)), axis),
        ("to", significant(float(tail.upper)), axis),
        ("goodness of fit, p", f"{analysis.goodness:.2g}", "below 0.1 the tail is no power law"),
    ]
    for name, rival in analysis.rivals.items():
        p, ratio = float(rival.p), float(rival.log_ratio)
        verdict = "neither better nor worse" if p > 0.1 else "worse" if ratio > 0 else "better"
        rows.append((f"{name} law instead, p", f"{p:.1g}", verdict))
    for name, symbol, unit in (("exponent", "α", ""), ("floor", "E", "nat")):
        ends = [end[name] for end in (law.value, law.low, law.high)]
        if not math.isnan(float(ends[0])):
            rows.append((f"mean loss from there on, k·a^-α + E: {symbol}", interval(*ends), unit))
    return rows


def _comparison(analysis: Analysis) -> list[tuple[str, str]]:
    comparison = analysis.curves.value.comparison
    if comparison is None:
        return []
    rows = [
        (words, banded(analysis, lambda c, name=name: c.comparison.scores[name].r2, ".4f"))
        for name, words in _SCORES.items()
    ]
    rows.append(("what p * g misses of the derivative's norm", percent(float(comparison.split["total"]), 2)))
    for name in ("sigmoid", "shared pulse", "binning"):
        rows.append((f"of it by cause: {name}", percent(float(comparison.split[name]), 2)))
    second = analysis.curves.value.second
    if second is not None:
        rows += [
            ("tokens with a likely second event", banded(analysis, lambda c: c.second.tokens, ".1%")),
            ("what they hold of what sigmoids miss", banded(analysis, lambda c: c.second.share, ".0%")),
        ]
    return rows


def _foundations(analysis: Analysis) -> list[tuple[str, str, str]]:
    found = analysis.curves.value.broadening
    rows = [
        ("visible drops outside the window", banded(analysis, lambda c: c.outside, ".2%"), ""),
        ("errors of learning times, root mean square", significant(float(found.error), 3), "u"),
        ("bins of p", significant(float(found.bin), 2), "u"),
        (
            "p over the width of the true learning times",
            banded(analysis, lambda c: c.broadening.ratio, ".2f"),
            "",
        ),
        ("binning moves the mean loss by at most", significant(float(analysis.bound.loss), 2), "nat"),
    ]
    for key, words in _MODES.items():
        energy = analysis.curves.value.modes[key].energy
        shares = ", ".join(f"{100 * float(energy[i]):.3g}%" for i in range(3))
        rows.append((f"energy of the leading pulse modes: {words}", shares, ""))
    return rows
