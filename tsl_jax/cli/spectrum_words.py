"""The analysis of a spectrum in words."""

import math
from typing import TYPE_CHECKING, Any

from .streams import say, warn

if TYPE_CHECKING:
    from rich.console import Console


def print_description(console: "Console", said: dict[str, Any]) -> None:
    """The description in words on stderr."""
    axis, level = said["axis"], f"{said['level']:.0%}"
    first, last = said["window"]
    say(console, f"{said['tokens']:,} tokens, {axis} {first:g} to {last:g} ({said['scale']} scale)")
    _print_kinds(console, said)
    outside = said["outside_fraction"]
    if outside["tokens"] is not None:
        drops = outside["visible_drop"]
        what = "" if math.isnan(drops[0]) else f", {_percent(drops)} of the visible drops"
        say(
            console,
            f"Outside the window: {outside['tokens']:.2%} of the tokens{what} (rule: {said['outside_rule']}). "
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
            f"{text} {', '.join(f'{100 * one[0]:.3g}%' for one in said['energy_fractions'][name][:3])}"
            for text, name in words
        )
        say(console, f"Energy of the leading pulse modes: {shares}")
        for name, rows in said["groups"].items():
            _print_groups(console, name, rows, axis)
    for reason in said["reasons"]:
        warn(reason)


def _print_kinds(console: "Console", said: dict[str, Any]) -> None:
    from ..spectrum import Kind

    def line(name: str, number: int, meaning: str) -> None:
        say(console, f"  {name:<9} {number:>14,}  {number / said['tokens']:7.2%}  {meaning}")

    for name, number in said["tokens_by_kind"].items():
        if number:
            line(name, number, Kind[name].meaning)
        if number and name == "LEARNED":
            line("  falling", said["learned_falling"], "The loss falls: learned.")
            line("  rising", said["learned_rising"], "The loss rises: forgotten.")


def _print_tails(console: "Console", said: dict[str, Any]) -> None:
    tail, law = said["tail"]["count"], said["mean_loss_law"]
    if math.isnan(tail["exponent"][0]):
        return
    rivals = ", ".join(_against(name, one) for name, one in tail["against"].items())
    by_drop = _interval(said["tail"]["drop"]["exponent"], ".3f")
    say(
        console,
        f"Tail of the spectrum: p({said['axis']}) ∝ {said['axis']}^-γ, γ = {_interval(tail['exponent'], '.3f')} from "
        f"{tail['lower']:.4g} to {tail['upper']:.4g} ({tail['fraction']:.0%} of the events whose loss falls); weighted "
        f"by drop {by_drop}; goodness of fit p = {tail['goodness_p']:.2g}; {rivals}",
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
        warn(f"{errors}: {wider}, and {made}")
        return
    broad = f"they make p {_interval(found['ratio'], '.2f')} times as wide as the true learning times"
    say(console, f"{errors}: {wider}; {broad}", "yellow" if found["error"][0] > found["bin"] else None)


def _coordinate(said: dict[str, Any]) -> str:
    return f"ln {said['axis']}" if said["scale"] == "log" else said["axis"]


def _print_second_events(console: "Console", said: dict[str, Any]) -> None:
    found = said["second_events"]
    if found is None or math.isnan(found["fraction_of_missing"][0]) or math.isnan(found["missing"][0]):
        return
    noise = [] if found["noise_between_sequences"] is None else [(found["noise_between_sequences"], "other sequences")]
    if not math.isnan(found["noise_between_runs"][0]):
        noise.append((found["noise_between_runs"][0], "another run"))
    moved = " and ".join(f"{one:.1%} with {source}" for one, source in noise if math.isfinite(one))
    beside = f", which moves by {moved}" if moved else ""
    say(
        console,
        f"What sigmoids miss of the derivative: {found['missing'][0]:.2%} of its norm{beside}; tokens with a likely "
        f"second event ({found['tokens'][0]:.1%}) hold {_interval(found['fraction_of_missing'], '.0%')} of it, tokens "
        f"whose constant counts {_interval(found['fraction_of_constants'], '.0%')}",
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
            f"{_interval(row['mean'], '.4g'):<24}  {tokens:>12,} tokens, {row['learned'][0]:.1%} learned",
        )


def _interval(three: list[float], form: str) -> str:
    value, low, high = three
    if math.isnan(low):
        return f"{value:{form}}"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _percent(three: list[float]) -> str:
    return _interval(three, ".2%")
