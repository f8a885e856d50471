"""README.md and the pages in docs/: their blocks of code, their commands, and what they set in code."""

import dataclasses
import functools
import re
import shlex
from pathlib import Path

import typer

from tsl_jax.cli import app

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Page:
    """A page in Markdown.

    Args:
        path: of the file.
        text: all of it.
    """

    path: Path
    text: str

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).with_suffix("").as_posix()

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """Kinds and texts of the fenced blocks.

        `python` and `sh` are typed as they stand; `py` and `console` need what no test has, such as a cluster.
        """
        return re.findall(r"^```(\w+)\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)

    @property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return re.sub(r"^```.*?^```", "", self.text, flags=re.MULTILINE | re.DOTALL)

    @property
    def inline(self) -> list[str]:
        """What the prose sets in code."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def commands(self, program: str) -> list[list[str]]:
        """Every command line of a program, as words."""
        blocks = [line.removeprefix("$ ") for kind, text in self.blocks for line in _lines(text) if kind in _SHELL]
        indented = re.findall(r"^    (\S.*)$", self.prose, re.MULTILINE)
        found = (words(line) for line in [*blocks, *indented, *self.inline])
        return [line for line in found if line[:1] == [program]]


_SHELL = ("sh", "console")


def _lines(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


def words(line: str) -> list[str]:
    """A line of a shell as words, without its comment."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe: no command
        return []


@functools.cache
def pages() -> dict[str, Page]:
    """README.md and every page of the site that is kept, by name without the ending."""
    kept = (path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "generated"} & set(path.parts))
    found = (Page(path, path.read_text()) for path in (ROOT / "README.md", *sorted(kept)))
    return {page.name: page for page in found}


def usage_error(line: list[str]) -> str | None:
    """What is wrong with a command line of `tsl`, or None; nothing is run."""
    command, rest = typer.main.get_command(app), line[1:]
    while rest and hasattr(command, "commands"):
        if rest[0] not in command.commands:
            return None if rest[0].startswith("-") else f"no such command: {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    if not rest:  # named in prose, without its arguments
        return None
    if len(rest) == 1 and rest[0].startswith("--"):  # an option of it is named in prose
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        return None if rest[0] in known else f"no such option: {rest[0]}"
    try:
        command.make_context(line[1], rest)
    except Exception as error:  # click's own, which typer keeps in another place from version to version
        if not hasattr(error, "format_message"):
            raise
        return error.format_message()
    return None
