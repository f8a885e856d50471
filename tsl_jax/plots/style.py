"""How all pictures look: sizes, colours, axes. Nothing here touches Matplotlib's global state."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..store.user_files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 150
# Okabe and Ito's colours, which stay apart for colour-blind readers (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
CATEGORY_COLOURS = {
    "LEARNED": BLUE,
    "EARLY": GREEN,
    "LATE": VERMILION,
    "UNLEARNED": GREY,
    "NONE": BLUE,
}
_AXIS_LABELS = {
    "step": "training step",
    "tokens_seen": "training tokens seen",
    "lr_sum": "dynamic time (sum of learning rates)",
    "position": "position in the context",
}


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def axis_label(name: str) -> str:
    """An axis in words."""
    return _AXIS_LABELS.get(name, name.replace("_", " "))


def number(value: float) -> str:
    """A number as people write it: 7.4, 85, 1,280, 3.2×10⁶; NaN is "none"."""
    if np.isnan(value):
        return "none"
    if value == 0:
        return "0"
    size = abs(value)
    if 0.01 <= size < 1e5:
        digits = max(0, 1 - int(f"{size:.1e}".split("e")[1]))
        return f"{value:,.{digits}f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return mantissa.removesuffix(".0") + "×10" + str(int(exponent)).translate(_SUPERSCRIPTS)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_axes(axes: "Axes", size: float) -> None:
    """Few lines, small ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=size, color=GREY, labelcolor=INK, length=3, width=0.7, which="major")
    axes.tick_params(length=1.5, width=0.5, color=GREY, which="minor")


def axis_of_fit(
    axes: "Axes", scale: str, first: float, last: float, *, margin: float = 0.02, minor: bool = True
) -> None:
    """The horizontal axis from ``first`` to ``last`` on the scale of the fit, with plain numbers."""
    from matplotlib.ticker import FuncFormatter

    if scale == "log":
        axes.set_xscale("log")
        ratio = (last / first) ** margin
        axes.set_xlim(first / ratio, last * ratio)
        log_ticks(axes.xaxis, minor=minor)
    else:
        axes.set_xlim(first - margin * (last - first), last + margin * (last - first))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def log_ticks(axis: "Axis", *, minor: bool = True) -> None:
    """Numbers on a logarithmic axis whose limits are set: at decades, or closer where they would be fewer than two."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = sorted(axis.get_view_interval())
    major = ticks_between(float(low), float(high))
    axis.set_major_locator(LogLocator(10, numticks=8) if major is None else FixedLocator(major))
    axis.set_minor_locator(LogLocator(10, subs=range(2, 10), numticks=99) if minor else NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))


def ticks_between(low: float, high: float) -> list[float] | None:
    """Where a logarithmic axis has numbers; None: at its decades, of which there are two at least."""
    from matplotlib.ticker import MaxNLocator

    if not 0 < low < high < np.inf:
        return None
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    if sum(low <= 10.0**power <= high for power in decades) > 1:
        return None
    for steps in ((1, 3), (1, 2, 5)):
        ticks = [step * 10.0**power for power in decades for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) > 2:
            return ticks
    return [float(tick) for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def same_vertical_axis(axes: "Axes") -> None:
    """Make the vertical axis that of `axis_of_fit`, too."""
    axes.set_yscale(axes.get_xscale())
    axes.set_ylim(axes.get_xlim())
    if axes.get_xscale() == "log":
        log_ticks(axes.yaxis)
    axes.yaxis.set_major_formatter(axes.xaxis.get_major_formatter())


def _tick(value: float) -> str:
    return f"{value:,g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else number(value).removeprefix("1×")


def write(axes: "Axes", x: float, y: float, text: str, **font: Any) -> None:
    """Text at a place given in units of the axes."""
    axes.text(x, y, text, color=INK, transform=axes.transAxes, **font)


def picture_endings() -> frozenset[str]:
    """What the name of a picture may end with, in small letters: the formats that Matplotlib writes without LaTeX."""
    from matplotlib.backend_bases import FigureCanvasBase

    return frozenset(f".{ending}" for ending in FigureCanvasBase.get_supported_filetypes()) - {".pgf"}


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as what the path's ending says (`picture_endings`); folders that are absent are made.

    The file is whole or not there, whenever the process is killed.

    Raises:
        WriteError: it could not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    ending = Path(path).suffix.lower()
    if ending != ".png":
        write_file(path, "the picture", lambda file: figure.savefig(file, format=ending.removeprefix(".") or None))
        return
    from PIL import Image

    # A palette is as good for few colours, and a third of the size.
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    palette = picture.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    dpi = figure.dpi, figure.dpi
    write_file(path, "the picture", lambda file: palette.save(file, format="PNG", optimize=True, dpi=dpi))
