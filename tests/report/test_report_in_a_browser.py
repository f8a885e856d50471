"""The page in a real browser: it draws, asks for nothing, obeys no name, sorts and filters."""

import importlib.util
import shutil
from types import SimpleNamespace

import pytest

from tests.needed import missing
from tests.report.conftest import DOMAINS, TITLE
from tsl_jax.terminal_text import printable

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    where = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if where is None:
        missing("no Chromium here: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        missing("no Playwright here: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=where, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def opened(browser, run, **context):
    """The page, all figures drawn, and what the browser said of it."""
    page = browser.new_context(**context).new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(run.page.as_uri())
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    count = page.locator("#figure-data").evaluate("node => Object.keys(JSON.parse(node.textContent)).length")
    page.wait_for_function(f"document.querySelectorAll('.plot.js-plotly-plot').length === {count}")
    return SimpleNamespace(page=page, said=said, asked=asked, figures=count)


@pytest.fixture(scope="module")
def shown(browser, run):
    shown = opened(browser, run, viewport={"width": 1200, "height": 800}, color_scheme="light")
    yield shown
    assert shown.said == []
    assert shown.asked == [run.page.as_uri()]


def test_all_is_drawn_in_peace(shown):
    assert shown.figures > 10
    assert shown.page.locator(".plot .main-svg .trace").count() > shown.figures
    assert shown.page.locator("main > section").count() == 9  # warnings, seven parts, tokens


def test_names_are_text(shown):
    assert shown.page.evaluate("window.hacked") is None
    assert shown.page.locator("h1").inner_text() == printable(TITLE)
    figure = shown.page.locator("#learning-times-0").text_content()
    assert all(printable(name) in figure for name in DOMAINS)
    assert shown.page.locator(".plot a[href^=http]").count() == 0


def test_figures_zoom_and_share_nothing(shown):
    bar = shown.page.locator("#mean-loss-0 .modebar-btn")
    titles = [button.get_attribute("data-title").lower() for button in bar.all()]
    assert any("zoom" in title for title in titles)
    assert not any("share" in title or "cloud" in title for title in titles)
    before = shown.page.evaluate("document.getElementById('mean-loss-0').layout.xaxis.range.slice()")
    shown.page.locator("#mean-loss-0").scroll_into_view_if_needed()
    bar.nth(next(k for k, title in enumerate(titles) if "zoom in" in title)).click(force=True)
    get = "document.getElementById('mean-loss-0').layout.xaxis.range"
    shown.page.wait_for_function(f"{get}[0] > {before[0]}")


def column(shown, name):
    number = shown.page.locator("#token-table thead th button").all_inner_texts().index(name)
    cells = shown.page.locator(f"#token-table tbody tr td:nth-child({number + 1})").all_inner_texts()
    return number, cells


def test_tokens_are_sorted_filtered_and_drawn(shown):
    page = shown.page
    number, cells = column(shown, "learning time")
    assert len(cells) == 50
    head = page.locator("#token-table thead th button").nth(number)
    for ascending in (True, False):
        head.click()
        values = [float(cell.replace(",", "")) for cell in column(shown, "learning time")[1]]
        assert values == sorted(values, reverse=not ascending)
    fields = page.locator("#token-table thead input")
    fields.nth(number).fill("10..20")
    values = [float(cell.replace(",", "")) for cell in column(shown, "learning time")[1]]
    assert values
    assert all(10 <= value <= 20 for value in values)
    category, _ = column(shown, "category")
    fields.nth(category).fill("early")
    assert page.locator("#token-table tbody tr").count() == 0
    assert page.locator("#token-count").inner_text().startswith("0 of 1,024")
    fields.nth(number).fill("")
    fields.nth(category).fill("")
    page.locator("#next").click()
    assert page.locator("#page").inner_text().startswith("page 2 of")
    page.locator("#token-table tbody tr").first.click()
    page.wait_for_function("document.querySelectorAll('#token-plot .trace').length === 2")


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1200), ("light", 390)])
def test_dark_and_narrow(browser, run, scheme, width):
    shown = opened(browser, run, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = shown.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    brightness = [sum(map(int, colour[4:-1].split(", "))) for colour in (ink, paper)]
    assert (brightness[0] > brightness[1]) == (scheme == "dark")
    font = page.locator("#mean-loss-0 .xtick text").first.evaluate("node => getComputedStyle(node).fill")
    assert font == ink
    assert shown.said == []
    page.context.close()
