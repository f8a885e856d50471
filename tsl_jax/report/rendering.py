"""From sections to one HTML file that needs nothing else: text is escaped, Plotly and all data are in it once."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .content import ReportSection
from .figures import plotly_objects


def render_page(title: str, subtitle: str, sections: Sequence[ReportSection], tokens: Mapping[str, Any]) -> str:
    """The page.

    Args:
        title: of the page.
        subtitle: below it.
        sections: in order; the table of tokens comes last.
        tokens: of `tsl_jax.report.tokens.token_table`, with ``words`` said above it.

    Raises:
        ReportDependencyError: Plotly or Jinja is not installed.
    """
    plotly_objects()
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    figures = {
        f"{section.anchor}-{number}": _figure_data(one.figure)
        for section in sections
        for number, one in enumerate(section.figures)
    }
    return page.from_string(_text("page.html")).render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        warnings=[(section, warning) for section in sections for warning in section.warnings],
        words=tokens["words"],
        style=_Trusted(_text("page.css")),
        plotly=_Trusted(get_plotlyjs()),
        script=_Trusted(_text("page.js")),
        figures=_Trusted(in_script(figures)),
        tokens=_Trusted(in_script({name: value for name, value in tokens.items() if name != "words"})),
    )


class _Trusted(str):
    """Text of our own that goes into the page as it is."""

    def __html__(self) -> str:
        return str(self)


def in_script(value: Any) -> str:
    """JSON that cannot end the script that holds it, whatever its text says."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _figure_data(figure: Any) -> Any:
    return json.loads(figure.to_json())


def _text(name: str) -> str:
    return importlib.resources.files("tsl_jax.report").joinpath(name).read_text("utf-8")
