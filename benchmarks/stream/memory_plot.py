"""The picture of `benchmarks memory`: what is resident while stores of several sizes are fitted."""

import itertools
from typing import TYPE_CHECKING

from tsl_jax.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_memory(results: list[dict]) -> "Figure":
    """MiB above the baseline by tokens done, a line a store, a panel a device, beside the limit."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = style.new_figure(5.2 * len(results), 3.2)
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE)
    room = {"left": 0.13 / len(results), "right": 0.98, "top": 0.9, "bottom": 0.17}
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False, gridspec_kw=room)[0], results, strict=True):
        style.plain_axes(axes, 8)
        axes.set_xscale("log")
        for store, colour in zip(result["stores"], itertools.cycle(colours), strict=False):
            done = [tokens for tokens, _ in store["resident"]]
            above = [(resident - store["baseline_bytes"]) / 2**20 for _, resident in store["resident"]]
            label = f"{style.number(store['tokens'])} tokens".removeprefix("1×")
            axes.plot(done, above, "o-", ms=3, lw=1.2, color=colour, label=label)
        axes.axhline(result["limit_bytes"] / 2**20, ls="--", lw=0.8, color=style.GREY, label="limit")
        axes.set_ylim(0, 1.1 * result["limit_bytes"] / 2**20)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("tokens done", size=9)
        axes.set_ylabel("resident above the baseline, MiB", size=9)
        axes.legend(loc="center right", frameon=False, fontsize=8)
    return figure
