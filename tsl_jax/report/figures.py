"""Pieces of Plotly figures that several sections draw; the page gives them the colours of its text."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plots.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from ..terminal_text import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
#: Marks a trace that the page draws in the colour of its text.
INK = {"ink": True}
#: Heights in pixels.
HEIGHT = 340
#: Ratios of the ends of a log axis between which it shows 1, 2 and 5 of each decade.
_FEW_DECADES = (4, 1e6)
#: On a log axis: 1, 10, 100, 1k.
LOG_TICKS = "~s"


class ReportDependencyError(ImportError, ValueError):
    """A package that writes the page is not installed: which, and how to get it."""


def plotly_objects() -> Any:
    """Plotly's `graph_objects`.

    Raises:
        ReportDependencyError: Plotly is not installed.
    """
    try:
        import plotly.graph_objects
    except ImportError as error:
        raise ReportDependencyError(
            f"report: needs Plotly and Jinja ({error}). Install them with: pip install 'tsl_jax[report]'"
        ) from error
    return plotly.graph_objects


def plotly_text(text: object) -> str:
    """Text that Plotly shows as it is: it takes tags and entities for its own."""
    return escape(printable(str(text)), quote=False).replace("$", "&#36;")


def new_figure(x: str, y: str, *, scale: str = "linear", y_scale: str = "linear", height: int = HEIGHT) -> "go.Figure":
    """An empty figure with these titles of its axes."""
    figure = plotly_objects().Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 58, "r": 12, "t": 12, "b": 48},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left"},
        hovermode="closest",
    )
    figure.update_xaxes(title_text=plotly_text(x), type=scale, **_ticks(scale))
    figure.update_yaxes(title_text=plotly_text(y), type=y_scale, **_ticks(y_scale))
    return figure


def _ticks(scale: str) -> dict[str, Any]:
    return {"tickformat": LOG_TICKS, "minor": {"ticks": ""}} if scale == "log" else {}


def add_line(figure: "go.Figure", x: Any, y: Any, name: str, colour: str | None = None, **more: Any) -> None:
    """A line; without a colour it has that of the text."""
    line = more.pop("line", {}) | ({"color": colour} if colour else {})
    figure.add_trace(
        plotly_objects().Scatter(
            x=thin(x), y=thin(y), name=plotly_text(name), mode="lines", line=line, meta=None if colour else INK, **more
        )
    )


def add_points(figure: "go.Figure", x: Any, y: Any, name: str, colour: str | None = None, **more: Any) -> None:
    """Open circles; without a colour they have that of the text."""
    marker = {"symbol": "circle-open", "size": 6} | ({"color": colour} if colour else {})
    figure.add_trace(
        plotly_objects().Scatter(
            **({"x": thin(x), "y": thin(y), "name": plotly_text(name), "mode": "markers", "marker": marker} | more),
            meta=None if colour else INK,
        )
    )


def add_band(figure: "go.Figure", x: Any, low: Any, high: Any, name: str, colour: str, **more: Any) -> None:
    """The area between two curves; nothing where they are not known."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return
    x, low, high = np.asarray(x)[known], low[known], high[known]
    figure.add_trace(
        plotly_objects().Scatter(
            x=thin(np.concatenate([x, x[::-1]])),
            y=thin(np.concatenate([low, high[::-1]])),
            name=plotly_text(name),
            fill="toself",
            fillcolor=faint(colour, more.pop("opacity", 0.22)),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            **more,
        )
    )


def add_steps(figure: "go.Figure", edges: Any, values: Any, name: str, colour: str, **more: Any) -> None:
    """What is counted in bins between edges."""
    x, y = stairs(edges, values)
    add_line(figure, x, y, name, colour, fill="tozeroy", fillcolor=faint(colour, 0.35), **more)


def stairs(edges: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """The outline of bins, as points of a line."""
    return np.repeat(np.asarray(edges), 2)[1:-1], np.repeat(np.asarray(values), 2)


def faint(colour: str, opacity: float) -> str:
    """A colour such as ``"#0072B2"`` that lets through what lies behind it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def window(figure: "go.Figure", first: float, last: float, scale: str) -> None:
    """Show this part of the horizontal axis at first."""
    ends: Sequence[float] = (np.log10(first), np.log10(last)) if scale == "log" else (first, last)
    few_ticks(figure, scale, last / first if first > 0 else 1)
    room = 0.02 * (ends[1] - ends[0])
    figure.update_xaxes(range=[ends[0] - room, ends[1] + room])


def few_ticks(figure: "go.Figure", scale: str, ratio: float) -> None:
    """1, 2, 5 on a log axis whose ends have this ratio: Plotly's own choice crowds a few decades."""
    if scale == "log" and _FEW_DECADES[0] < ratio < _FEW_DECADES[1]:
        figure.update_xaxes(dtick="D2")


def thin(values: Any) -> np.ndarray:
    """In half the bytes: seven digits are more than a screen shows."""
    return np.asarray(values, np.float32)
