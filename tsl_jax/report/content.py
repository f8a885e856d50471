"""What a page holds: sections of words, tables and figures. Nothing here knows HTML."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure that zooms.

    Attributes:
        title: above it.
        figure: Plotly's; colours of text, axes and grid are the page's.
        caption: below it.
        wide: whether it takes the page's whole width.
    """

    title: str
    figure: "go.Figure"
    caption: str = ""
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class ReportTable:
    """A small table of text; columns after the first are numbers unless ``words`` names them.

    Attributes:
        title: above it.
        columns: their names.
        rows: of cells.
        words: columns that hold words, by number.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)


@dataclasses.dataclass(frozen=True)
class ReportSection:
    """A section of the page.

    Attributes:
        anchor: name of its place in the page.
        title: its heading.
        words: sentences, a paragraph each.
        facts: names and values, after them.
        figures: next.
        tables: last.
        missing: why it cannot be made, a sentence; then the rest is empty.
        warnings: what a reader must know before the numbers; they stand first in the page.
    """

    anchor: str
    title: str
    words: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    figures: Sequence[ReportFigure] = ()
    tables: Sequence[ReportTable] = ()
    missing: str = ""
    warnings: Sequence[str] = ()
