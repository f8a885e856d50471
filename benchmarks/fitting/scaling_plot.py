"""The picture of `benchmarks scaling`: rates by curves, checkpoints and devices, a line a device."""

import itertools
from typing import TYPE_CHECKING

from tsl_jax.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"curves": "curves (64 checkpoints)", "checkpoints": "checkpoints", "devices": "devices (64 checkpoints)"}


def scaling_data(results: list[dict]) -> dict[str, list[tuple[str, list[int], list[float]]]]:
    """Per sweep, for each result the machine's name, where it was measured and the rates there."""
    data = {}
    for sweep in _TITLES:
        data[sweep] = []
        for result in results:
            entries = [entry for entry in result["sweeps"][sweep] if "lacking" not in entry]
            rates = [entry["fits_per_second"] for entry in entries]
            data[sweep].append((_machine(result), [entry[sweep] for entry in entries], rates))
    return data


def _machine(result: dict) -> str:
    environment = result["environment"]
    cores = f", {environment['cores']} cores" if environment["platform"] == "cpu" else ""
    return environment["device"] + cores


def draw_scaling(results: list[dict]) -> "Figure":
    """Three panels with logarithmic axes; by devices beside the line of perfect scaling."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    data = scaling_data(results)
    figure = style.new_figure(9.6, 3.2)
    room = {"left": 0.085, "right": 0.99, "top": 0.9, "bottom": 0.17, "wspace": 0.3}
    panels = figure.subplots(1, 3, gridspec_kw=room)
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)
    for axes, (sweep, lines) in zip(panels, data.items(), strict=True):
        style.plain_axes(axes, 8)
        axes.set_xscale("log", base=2 if sweep != "curves" else 10)
        axes.set_yscale("log")
        for (machine, where, rates), colour in zip(lines, itertools.cycle(colours), strict=False):
            axes.plot(where, rates, "o-", ms=4, lw=1.4, color=colour, label=machine)
            if sweep == "devices":
                perfect = [rates[0] * n / where[0] for n in where]
                axes.plot(where, perfect, "--", lw=0.8, color=style.GREY, label="perfect scaling")
        rates = [rate for line in lines for rate in line[2]]
        if rates:
            axes.set_ylim(min(rates) / 2, max(rates) * 2.5)
        if sweep != "curves":
            places = sorted({place for line in lines for place in line[1]})
            axes.set_xticks(places, [f"{place:,}" for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.number(value).removeprefix("1×")))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(_TITLES[sweep], size=9)
    panels[0].set_ylabel("fits per second", size=9)
    panels[0].legend(loc="upper left", frameon=False, fontsize=8)
    if panels[-1].lines:
        panels[-1].legend(handles=panels[-1].lines[-1:], loc="upper left", frameon=False, fontsize=8)
    return figure
