"""What stands over a figure of a spectrum, and over each of its panels."""

from typing import TYPE_CHECKING

from .. import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def heading(figure: "Figure", text: str, words: str) -> None:
    """What the figure shows, and below it in small letters how that was made."""
    height = figure.get_figheight()
    figure.text(0.012, 1 - 0.12 / height, text, size=12.5, weight="bold", va="top", color=style.INK)
    figure.text(0.012, 1 - 0.41 / height, words, size=9.5, va="top", color=style.GREY)


def title(axes: "Axes", letter: str, text: str) -> None:
    """Letter and name of a panel."""
    axes.set_title(f"{letter}  {text}", size=10.5, loc="left", color=style.INK, pad=6)
