"""What the pages in docs/ say of the code: examples run, files and functions exist."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_there_are_pages():
    assert {page.name for page in PAGES} >= {"adding-a-job.md", "from-a-laptop-to-a-cluster.md", "the-way-of-a-loss.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text()], ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page):
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_what_is_in_them_exist(page):
    text = page.read_text()
    for path in re.findall(r"`((?:tsl_jax|tests|benchmarks)/[\w/]+\.pyi?)`", text):
        assert (ROOT / path).exists(), path
    for path, name in re.findall(r"`((?:tsl_jax)/[\w/]+\.pyi?)`, `(\w+)`", text):
        assert re.search(rf"^(def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE), (path, name)


def test_an_added_job_takes_one_file_of_at_most_60_lines():
    (example,) = re.findall(
        r"^>>> @dataclasses.*?(?=^>>> losses)", (ROOT / "docs/adding-a-job.md").read_text(), re.S | re.M
    )
    assert len(example.splitlines()) <= 60
