"""The page of the command `tsl`: what `tsl COMMAND --help` says, written by Typer when the site is built."""

import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx


def write_page(app: Sphinx) -> None:
    """Write generated/tsl.md."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "typer", "tsl_jax.cli", "utils", "docs", "--name", "tsl", "--title", "Commands"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    path = folder / "tsl.md"
    if not path.exists() or path.read_text() != made:
        path.write_text(made)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the page with Sphinx."""
    app.connect("builder-inited", write_page, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
