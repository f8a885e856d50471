"""A comparison of runs in words and tables."""

import math
from typing import TYPE_CHECKING

from .streams import say, warn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..runs import ParameterComparison, RunComparison, RunComponent

_UNITS = {"1": "ln"}


def print_comparison(console: "Console", found: "RunComparison") -> None:
    """What repeats, and how far apart runs lie, for people."""
    runs, tokens = len(found.names), found.all_pairs.tokens // len(found.pairs)
    pairs = "" if runs == 2 else f", all {len(found.pairs)} pairs of runs together"
    say(console, f"{runs} runs of the same {tokens:,} tokens{pairs}.")
    for note in found.notes:
        warn(note)
    compared = [one for one in found.all_pairs.parameters if one.tokens]
    _print(_values(compared))
    _print(_coverages(found, compared))
    thirds = (
        "; thirds: by their learning times, from the earliest" if any(one.coverage_by_time for one in compared) else ""
    )
    say(console, f"Quarters: of the tokens by their standard errors, from the least to the greatest{thirds}.")
    _print(_repeats(found))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in found.all_pairs.left_out.items() if count)
    if reasons:
        say(console, f"Parameters are compared where the kind repeats. Left out: {reasons}.")
    without = {f"{one.parameter} ({one.events})": one.without_error for one in compared if one.without_error}
    if without:
        listed = ", ".join(f"{name} {count:,}" for name, count in without.items())
        say(console, f"No finite standard error in one of the runs: {listed}.")
    if any(group.tokens for group in found.all_pairs.by_sharpness):
        _print(_by_sharpness(found))
    if runs > 2:
        _print(_by_pair(found))
    for component in found.components.items:
        if component.events != "rising" and component.form != "unknown":
            say(console, typical_words(component))


def typical_words(component: "RunComponent") -> str:
    """What the component says of a token with a median standard error, as a sentence."""
    unit = " (of its logarithm)" if component.coordinate == "ln" else ""
    start = (
        f"{component.parameter}{unit}: a typical token has a standard error of {component.typical_error:.3g} and "
        f"differs between runs by {component.between_runs:.3g} ± {component.between_runs_stderr:.1g}"
    )
    if component.times is not None:
        least, most = _by_time(component)
        start += f", times {least:.2g} to {most:.2g} by when it is learned"
    if component.fraction <= 0:
        return start + "; its standard error holds all of that." if component.times is None else start + "."
    return start + f"; {component.fraction:.0%} of that variance is not in the standard error."


def _by_time(component: "RunComponent") -> tuple[float, float]:
    """Least and greatest factor on errors between runs by learning time."""
    factors = component.times.factors if component.times is not None else (1.0,)
    return math.sqrt(min(factors)), math.sqrt(max(factors))


def component_words(component: "RunComponent | None") -> str:
    """``"1.80 x error"``, ``"error and 0.23"``: how errors between runs follow from standard errors."""
    if component is None or component.form == "unknown":
        return "unknown: too few tokens"
    factor, additive = math.sqrt(component.factor), math.sqrt(component.additive)
    words = {
        "none": "none: the error alone" if component.times is None else "error",
        "additive": f"error and {additive:.3g}",
        "factor": f"{factor:.3g} x error",
        "both": f"{factor:.3g} x error and {additive:.3g}",
    }[component.form]
    if component.times is None:
        return words
    least, most = _by_time(component)
    return f"({words}) x {least:.2g} to {most:.2g} by learning time"


def _values(compared: "list[ParameterComparison]") -> "Table":
    table = _table("parameter", "events", left=2)
    for name in ("tokens", "rank correlation", "median difference", "sd between runs", "standard error", "in"):
        table.add_column(name, justify="right")
    for one in compared:
        table.add_row(
            one.parameter,
            one.events,
            f"{one.tokens:,}",
            f"{one.rank_correlation:.3f}",
            *(f"{value:.3g}" for value in (one.median_difference, one.run_std, one.typical_error)),
            _UNITS.get(one.unit, one.unit),
        )
    return table


def _coverages(found: "RunComparison", compared: "list[ParameterComparison]") -> "Table":
    table = _table("within intervals (%)", "events", left=2)
    for name in (
        "by standard errors: 50 90 99",
        "90 in quarters",
        "in thirds",
        "with component: 50 90 99",
        "90 in quarters",
        "in thirds",
        "component",
    ):
        table.add_column(name, justify="right")
    for one in compared:
        table.add_row(
            one.parameter,
            one.events,
            _fractions(one.coverage),
            _fractions(one.coverage_by_error),
            _fractions(one.coverage_by_time),
            _fractions(one.coverage_between_runs),
            _fractions(one.coverage_between_runs_by_error),
            _fractions(one.coverage_between_runs_by_time),
            component_words(found.components.find(one.parameter, one.events)),
        )
    return table


def _repeats(found: "RunComparison") -> "Table":
    table = _table("token", left=1)
    for name in ("first run", "second run", "both", "repeats", "by chance"):
        table.add_column(name, justify="right")
    for one in found.all_pairs.repeats:
        counts = (f"{count:,}" for count in (one.first, one.second, one.both))
        table.add_row(one.kind.meaning, *counts, f"{one.fraction:.1%}", f"{one.by_chance:.1%}")
    return table


def _by_sharpness(found: "RunComparison") -> "Table":
    table = _table("sharpness", left=1)
    for name in (
        "tokens",
        "rank correlation of learning time",
        "sd between runs",
        "standard error",
        "within 90%",
        "with component",
    ):
        table.add_column(name, justify="right")
    for one in found.all_pairs.by_sharpness:
        table.add_row(
            f"{one.least:.3g} to {one.most:.3g}" if math.isfinite(one.most) else f"above {one.least:.3g}",
            f"{one.tokens:,}",
            f"{one.rank_correlation:.3f}",
            f"{one.run_std:.3g}",
            f"{one.typical_error:.3g}",
            _fractions((one.coverage,)),
            _fractions((one.coverage_between_runs,)),
        )
    return table


def _by_pair(found: "RunComparison") -> "Table":
    names = [one.parameter for one in found.all_pairs.parameters if one.events != "rising"]
    table = _table("rank correlation; within 90%; with component", left=1)
    for name in names:
        table.add_column(name, justify="right")
    for (one, two), pair in found.pairs.items():
        cells = []
        for each in pair.parameters:
            if each.events != "rising":
                fractions = _fractions((each.coverage[1], each.coverage_between_runs[1]))
                cells.append(f"{each.rank_correlation:.3f} {fractions}")
        table.add_row(f"{found.names[one]}, {found.names[two]}", *cells)
    return table


def _fractions(values: tuple[float, ...]) -> str:
    """Shares in percent; NaN is a dash."""
    return " ".join("-" if math.isnan(value) else f"{100 * value:.0f}" for value in values)


def _table(*names: str, left: int) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names[:left]:
        table.add_column(name, no_wrap=True)
    return table


def _print(table: "Table") -> None:
    """A table whose cells are never cut or broken, however narrow the console is."""
    from rich.console import Console

    wide = Console(stderr=True, highlight=False, width=1000)
    wide.print(table, soft_wrap=True)
