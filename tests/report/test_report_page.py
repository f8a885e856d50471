"""The file: whole, bounded, and free of anything that names in a store could bring in."""

import json
import math
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.report.conftest import DOMAINS, TITLE
from tsl_jax.cli import app
from tsl_jax.report import write_report
from tsl_jax.report.rendering import in_script
from tsl_jax.report.words import interval, significant
from tsl_jax.store import StoreError, create_losses
from tsl_jax.terminal_text import printable


class Elements(HTMLParser):
    """Elements of a page, their attributes, and the text of each."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append((self.found[-1][0] if self.found else "", data))


@pytest.fixture(scope="module")
def page(run):
    return Elements(run.text)


def test_names_of_a_store_bring_in_no_element(page):
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 4
    assert not {"img", "iframe", "object", "b"} & set(tags)
    assert all(value.startswith("#") for tag, a in page.found if tag == "a" for value in [a["href"]])
    assert not [a for _, a in page.found if "src" in a or any(name.startswith("on") for name in a)]
    headings = [text for tag, text in page.texts if tag == "h1" and text.strip()]
    assert headings == [printable(TITLE)]


def test_data_in_the_page_is_json_that_cannot_leave_its_script(run, page):
    scripts = [text for tag, text in page.texts if tag == "script" and text.startswith("{")]
    figures, tokens = (json.loads(text) for text in scripts)
    assert len(figures) > 10
    assert all("<" not in text for text in scripts)
    domain = [column["name"] for column in tokens["columns"]].index("domain")
    assert {row[domain] for row in tokens["rows"]} == {printable(name) for name in DOMAINS}
    time = [column["name"] for column in tokens["columns"]].index("learning time")
    stored = run.columns["learning_time"][[row[0] for row in tokens["rows"]]]
    np.testing.assert_allclose([row[time] for row in tokens["rows"]], stored, rtol=1e-4)


def test_directions_of_writing_are_shown_not_obeyed(run):
    assert "\u202e" not in run.text
    assert "\\u202e" in run.text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.9471, "2.947"), (31768.3, "31,770"), (-1e5, "-100,000"), (0.00012345, "0.0001234"), (3e12, "3e+12")],
)
def test_numbers_are_written_out(value, text):
    assert significant(value) == text
    assert interval(value, value, value, significant) == f"{text} ({text} to {text})"
    assert interval(value, math.nan, math.nan, significant) == text
    assert interval(math.nan, value, value, significant) == significant(math.nan) == "–"


def test_text_in_scripts_comes_back():
    text = "</script><!-- & \u2028 \"quotes' "
    assert json.loads(in_script({text: [text, None, 1.5]})) == {text: [text, None, 1.5]}
    assert not set("<>&\u2028") & set(in_script(text))


def test_the_file_is_bounded_and_holds_plotly_once(run):
    assert run.page.stat().st_size < 7e6
    assert run.text.count("plotly.js v") == 1
    assert "A sample: 1,024 of 1,600 tokens" in run.text


def test_losses_of_another_shape_are_refused(run, tmp_path):
    create_losses(tmp_path / "other.zarr", np.ones((3, 4), "float32"), checkpoints={"step": [1, 2, 3, 4]})
    with pytest.raises(StoreError, match="give the losses that were fitted"):
        write_report(run.fits, tmp_path / "page.html", losses=tmp_path / "other.zarr")
    assert not (tmp_path / "page.html").exists()


def test_without_plotly_the_cure_is_said(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.delitem(sys.modules, "plotly.graph_objects", raising=False)
    done = CliRunner().invoke(app, ["report", str(run.fits), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 1
    assert "pip install 'tsl_jax[report]'" in done.stderr.replace("\n", " ")


def test_another_ending_is_refused_before_the_work(run, tmp_path):
    done = CliRunner().invoke(app, ["report", str(run.fits), "--out", str(tmp_path / "page.pdf")])
    assert done.exit_code == 1
    assert ".html" in done.stderr


def test_the_command_says_what_is_missing(alone):
    assert alone.said["bytes"] == alone.page.stat().st_size
    assert set(alone.said["missing"]) == {"positions", "forecast"}
    assert alone.said["sections"] == ["times", "spectrum", "tokens"]
    assert "forecast: It needs the losses" in alone.words
