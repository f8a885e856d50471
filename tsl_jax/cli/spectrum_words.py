"""The analysis of a spectrum as JSON can hold it, and in words."""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from .console import say

if TYPE_CHECKING:
    from rich.console import Console

    from ..jobs import Analysis


def describe(analysis: "Analysis") -> dict[str, Any]:
    """All numbers; ``[value, low, high]`` where there is a band. Curves are in the pictures and in Python."""
    read, options = analysis.read, analysis.options
    grid, tokens = read.spectrum.grid, read.spectrum.tokens
    counted = sum(tokens[name] for name in ("LEARNED", "EARLY", "LATE", "UNLEARNED", "CONSTANT"))
    outside = tokens["EARLY"] + tokens["LATE"]
    return {
        "axis": read.axis_name,
        "scale": grid.scale,
        "window": [grid.first, grid.last],
        "weighting": options.weighting,
        "outside_rule": options.outside,
        "level": options.level,
        "replicates": options.replicates,
        "resampled": read.sequences,
        "resample_groups": analysis.resamples,
        "tokens": sum(tokens.values()),
        "tokens_by_kind": tokens,
        "outside_share": {
            "tokens": outside / counted if counted else None,
            "visible_drop": _banded(analysis, lambda c: c.outside),
        },
        "tail": _tails(analysis),
        "mean_loss_law": {
            name: _three(*(ends[name] for ends in _ends(analysis.mean_loss_law)))
            for name in ("coefficient", "exponent", "floor")
        }
        | {"of": "mean of the fits" if analysis.curves.value.comparison is None else "mean loss"},
        "broadening": {
            name: _banded(analysis, lambda c, name=name: getattr(c.broadening, name))
            for name in ("ratio", "error", "median", "wider", "width")
        }
        | {"bin": analysis.curves.value.broadening.bin},
        "comparison": _comparison(analysis),
        "second_events": _second_events(analysis),
        "binning_bound": {"loss": float(analysis.bound.loss), "slope": float(analysis.bound.slope)},
        "energy_shares": {
            name: [_banded(analysis, lambda c, name=name, i=i: c.modes[name].energy[i]) for i in range(4)]
            for name in analysis.curves.value.modes
        },
        "groups": {name: _groups(analysis, name) for name in analysis.groups},
        "reasons": list(analysis.reasons),
    }


def _tails(analysis: "Analysis") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, tail in analysis.curves.value.tails.items():
        result[name] = {
            "exponent": _banded(analysis, lambda c, name=name: c.tails[name].exponent),
            "stderr": float(tail.stderr),
            "lower": float(tail.lower),
            "upper": float(tail.upper),
            "events": float(tail.events),
            "share": float(tail.share),
            "ks_distance": float(tail.distance),
        }
    result["count"]["goodness_p"] = analysis.goodness
    result["count"]["against"] = {
        law: {"log_ratio": float(one.log_ratio), "z": float(one.z), "p": float(one.p)}
        for law, one in analysis.rivals.items()
    }
    return result


def _comparison(analysis: "Analysis") -> dict[str, Any] | None:
    comparison = analysis.curves.value.comparison
    if comparison is None:
        return None
    return {
        "r2": {
            name: _banded(analysis, lambda c, name=name: c.comparison.scores[name].r2) for name in comparison.scores
        },
        "relative_error": {
            name: _banded(analysis, lambda c, name=name: c.comparison.scores[name].error) for name in comparison.scores
        },
        "missing": {
            name: _banded(analysis, lambda c, name=name: c.comparison.split[name]) for name in comparison.split
        },
        "bandwidth": comparison.bandwidth,
    }


def _second_events(analysis: "Analysis") -> dict[str, Any] | None:
    """What is missing of the derivative, as norms relative to that of the mean loss's derivative."""
    second, comparison = analysis.curves.value.second, analysis.curves.value.comparison
    if second is None or comparison is None:
        return None
    ends = [one.second.missing for one in _ends(analysis.curves)]
    size = math.sqrt(float((comparison.observed**2).sum()))
    # Pointwise bands as those of a normal distribution: half their width is this many standard deviations.
    sigmas = NormalDist().inv_cdf((1 + analysis.options.level) / 2)
    between = math.sqrt(float(((ends[2] - ends[1]) ** 2).sum())) / (2 * sigmas)
    return {
        "tokens": _banded(analysis, lambda c: c.second.tokens),
        "share_of_missing": _banded(analysis, lambda c: c.second.share),
        "share_of_constants": _banded(analysis, lambda c: c.second.constants),
        "missing": _banded(analysis, lambda c: c.comparison.split["sigmoid"]),
        "noise_between_sequences": between / size if size > 0 else None,
        "noise_between_runs": _banded(analysis, lambda c: c.second.between_runs),
    }


def _groups(analysis: "Analysis", name: str) -> list[dict[str, Any]]:
    group = analysis.groups[name]
    labels = [*group.grouping.labels, None]
    return [
        {
            "group": label,
            "tokens_by_kind": group.tokens[index],
            **{
                field: _three(*(getattr(ends, field)[index] for ends in _ends(group.times)))
                for field in ("learned", "median", "mean")
            },
        }
        for index, label in enumerate(labels)
        if label is not None or any(group.tokens[index].values())
    ]


def _banded(analysis: "Analysis", get: Any) -> list[float]:
    return _three(*(get(ends) for ends in _ends(analysis.curves)))


def _ends(bands: Any) -> tuple[Any, Any, Any]:
    return bands.value, bands.low, bands.high


def _three(*values: Any) -> list[float]:
    return [float(value) for value in values]


def print_description(console: "Console", said: dict[str, Any]) -> None:
    """The description in words on stderr."""
    axis, level = said["axis"], f"{said['level']:.0%}"
    first, last = said["window"]
    say(console, f"{said['tokens']:,} tokens, {axis} {first:g} to {last:g} ({said['scale']} scale)")
    _print_kinds(console, said)
    share = said["outside_share"]
    if share["tokens"] is not None:
        drops = share["visible_drop"]
        what = "" if math.isnan(drops[0]) else f", {_percent(drops)} of the visible drops"
        say(
            console,
            f"Outside the window: {share['tokens']:.2%} of the tokens{what} (rule: {said['outside_rule']}). "
            f"Intervals: {level}.",
        )
    _print_tails(console, said)
    _print_broadening(console, said)
    _print_comparison(console, said)
    _print_second_events(console, said)
    if said["tokens_by_kind"]["LEARNED"]:
        words = (
            ("single pulses", "all pulses"),
            ("single pulses of area 1", "unit area"),
            ("means of groups by learning time", "group means"),
        )
        shares = "; ".join(
            f"{text} {', '.join(f'{100 * one[0]:.3g}%' for one in said['energy_shares'][name][:3])}"
            for text, name in words
        )
        say(console, f"Energy of the leading pulse modes: {shares}")
        for name, rows in said["groups"].items():
            _print_groups(console, name, rows, axis)
    for reason in said["reasons"]:
        say(console, reason, "yellow")


def _print_kinds(console: "Console", said: dict[str, Any]) -> None:
    from ..spectrum import Kind

    for name, number in said["tokens_by_kind"].items():
        if number:
            say(console, f"  {name:<9} {number:>14,}  {number / said['tokens']:7.2%}  {Kind[name].meaning}")


def _print_tails(console: "Console", said: dict[str, Any]) -> None:
    tail, law = said["tail"]["count"], said["mean_loss_law"]
    if math.isnan(tail["exponent"][0]):
        return
    rivals = ", ".join(_against(name, one) for name, one in tail["against"].items())
    by_drop = _interval(said["tail"]["drop"]["exponent"], ".3f")
    say(
        console,
        f"Tail of the spectrum: p({said['axis']}) ∝ {said['axis']}^-γ, γ = {_interval(tail['exponent'], '.3f')} from "
        f"{tail['lower']:.4g} to {tail['upper']:.4g} ({tail['share']:.0%} of the events whose loss falls); weighted by "
        f"drop {by_drop}; goodness of fit p = {tail['goodness_p']:.2g}; {rivals}",
    )
    if not math.isnan(law["exponent"][0]):
        say(
            console,
            f"{law['of'].capitalize()} from there on: k·a^-α + E, α = {_interval(law['exponent'], '.3f')}, "
            f"E = {_interval(law['floor'], '.3f')} nat; events of equal drops would give α = γ - 1 = "
            f"{tail['exponent'][0] - 1:.3f}",
        )


def _against(name: str, rival: dict[str, float]) -> str:
    if rival["p"] > 0.1:
        return f"{name} law neither better nor worse"
    return f"{name} law {'worse' if rival['log_ratio'] > 0 else 'better'} (p = {rival['p']:.1g})"


def _print_comparison(console: "Console", said: dict[str, Any]) -> None:
    comparison = said["comparison"]
    if comparison is None or math.isnan(comparison["missing"]["total"][0]):
        return
    words = {
        "mean fit of mean loss": "mean of the fits against the mean loss",
        "fitted of observed": "derivative of the fits against that of the mean loss",
        "convolved of observed": "p * g against the derivative of the mean loss",
        "convolved of implied": "p * g against the derivative of the fits",
    }
    for name, text in words.items():
        say(console, f"R² = {_interval(comparison['r2'][name], '.4f')}: {text}")
    missing = comparison["missing"]
    parts = ", ".join(f"{name} {missing[name][0]:.2%}" for name in ("sigmoid", "shared pulse", "binning"))
    say(
        console,
        f"What p * g misses of the derivative: {missing['total'][0]:.2%} of its norm; by cause: {parts} (binning moves "
        f"the mean loss by at most {said['binning_bound']['loss']:.2g} nat)",
    )


def _print_broadening(console: "Console", said: dict[str, Any]) -> None:
    found = said["broadening"]
    if math.isnan(found["error"][0]):
        return
    errors = (
        f"Errors of learning times: {found['error'][0]:.3g} in {_coordinate(said)} (root mean square; median "
        f"{found['median'][0]:.2g}), bins of p {found['bin']:.2g}, p {found['width'][0]:.3g} (standard deviation)"
    )
    wider = f"{found['wider'][0]:.0%} of p has errors wider than its bins"
    if math.isinf(found["ratio"][0]):
        made = "errors alone would explain the width of p: its form says nothing of the true learning times"
        say(console, f"{errors}: {wider}, and {made}", "yellow")
        return
    broad = f"they make p {_interval(found['ratio'], '.2f')} times as wide as the true learning times"
    say(console, f"{errors}: {wider}; {broad}", "yellow" if found["error"][0] > found["bin"] else None)


def _coordinate(said: dict[str, Any]) -> str:
    return f"ln {said['axis']}" if said["scale"] == "log" else said["axis"]


def _print_second_events(console: "Console", said: dict[str, Any]) -> None:
    found = said["second_events"]
    if found is None or math.isnan(found["share_of_missing"][0]) or math.isnan(found["missing"][0]):
        return
    noise = [] if found["noise_between_sequences"] is None else [(found["noise_between_sequences"], "other sequences")]
    if not math.isnan(found["noise_between_runs"][0]):
        noise.append((found["noise_between_runs"][0], "another run"))
    moved = " and ".join(f"{one:.1%} with {source}" for one, source in noise if math.isfinite(one))
    beside = f", which moves by {moved}" if moved else ""
    say(
        console,
        f"What sigmoids miss of the derivative: {found['missing'][0]:.2%} of its norm{beside}; tokens with a likely "
        f"second event ({found['tokens'][0]:.1%}) hold {_interval(found['share_of_missing'], '.0%')} of it, tokens "
        f"whose constant counts {_interval(found['share_of_constants'], '.0%')}",
    )


def _print_groups(console: "Console", name: str, rows: list[dict[str, Any]], axis: str) -> None:
    say(console, f"Learning time ({axis}) by {name.replace('_', ' ')}:")
    labels = [row["group"] or "no group" for row in rows]
    width = max(map(len, labels))
    for label, row in zip(labels, rows, strict=True):
        if math.isnan(row["median"][0]):
            say(console, f"  {label:<{width}}  no event inside the window whose loss falls")
            continue
        tokens = sum(row["tokens_by_kind"].values())
        say(
            console,
            f"  {label:<{width}}  median {_interval(row['median'], '.4g'):<24}  mean "
            f"{_interval(row['mean'], '.4g'):<24}  {tokens:>12,} tokens, {row['learned'][0]:.1%} with an event",
        )


def _interval(three: list[float], form: str) -> str:
    value, low, high = three
    if math.isnan(low):
        return f"{value:{form}}"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _percent(three: list[float]) -> str:
    return _interval(three, ".2%")
