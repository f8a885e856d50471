"""The page of the command `tsl`: what `tsl COMMAND --help` says, written by Typer when the site is built."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from sphinx.application import Sphinx

from tsl_jax.cli import app as command

TYPER = [sys.executable, "-m", "typer", "tsl_jax.cli", "utils", "docs", "--name", "tsl", "--title", "Commands"]


def write_page(app: Sphinx) -> None:
    """Write generated/tsl.md."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    text = in_full(subprocess.run(TYPER, capture_output=True, text=True, check=True).stdout)
    path = folder / "tsl.md"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def in_full(text: str) -> str:
    """The page with whole first paragraphs in lists of commands, where Typer cuts them after a few words."""
    said = dict(_first_paragraphs(typer.main.get_command(command)))

    def line(match: re.Match[str]) -> str:
        return f"* `{match[1]}`: {said[match[1]]}" if match[1] in said else match[0]

    text = re.sub(r"^\* `(\w+)`: .*$", line, text, flags=re.MULTILINE)
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]+)(?!.*[`<])", r"`\1`", text)  # two dashes, not one long one


def _first_paragraphs(group: Any) -> Iterator[tuple[str, str]]:
    for name, below in group.commands.items():
        yield name, " ".join((below.help or "").split("\n\n")[0].split())
        if hasattr(below, "commands"):
            yield from _first_paragraphs(below)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the page with Sphinx."""
    app.connect("builder-inited", write_page, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
