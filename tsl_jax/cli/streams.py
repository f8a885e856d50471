"""Where words go: results to stdout, progress, warnings and errors to stderr; tables are never cut."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


#: Whether stdout is for the JSON object of this command alone.
_json_alone: ContextVar[bool] = ContextVar("_json_alone", default=False)


class OutputError(OSError):
    """The result could not be written to stdout."""


class _Forgiving:
    """A stream for people whose other end may go away (``| head``): what is written then is dropped, no work is lost.

    Args:
        stream: stdout or stderr.
        full: whether a stream that takes no more, of a full disk for example, is an error.
    """

    def __init__(self, stream: TextIO, full: bool) -> None:
        self._stream, self._full = stream, full

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        close_for_good(self._stream)
        if self._full and not isinstance(error, BrokenPipeError):
            raise unwritten(error, "the result") from error


def unwritten(error: OSError, what: str) -> OutputError:
    """Stdout took it not, for example because the disk is full."""
    return OutputError(
        f"stdout: could not write {what}: {error.strerror}. What the command wrote elsewhere is kept; free some space "
        "or let stdout go to another place, and run the same command again"
    )


def close_for_good(stream: TextIO) -> None:
    """Let a stream lead nowhere; else Python tries to write what is left when it ends, and fails."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def json_alone(as_json: bool) -> Iterator[None]:
    """Within, stdout is for one JSON object alone where ``as_json``; what people read goes to stderr then."""
    before = _json_alone.set(as_json)
    try:
        yield
    finally:
        _json_alone.reset(before)


def output_console() -> "Console":
    """Where results are read: stdout, or stderr where this command writes JSON to stdout."""
    return stderr_console() if _json_alone.get() else _console(sys.stdout, full=True)


def stderr_console() -> "Console":
    """Where progress, warnings and errors are read."""
    return _console(sys.stderr, full=False)


def _console(stream: TextIO | None, full: bool) -> "Console":
    from rich.console import Console
    from rich.table import Table

    from ..terminal_text import printable

    class HarmlessConsole(Console):
        """A console that shows what a store says, and obeys none of it."""

        def render_str(self, text: str, **options: Any) -> Any:
            """Every string on its way to the terminal, cells of tables too."""
            return super().render_str(printable(text), **options)

        def print(self, *objects: Any, **options: Any) -> None:
            """A table takes the width that it needs, also on a narrower terminal, and in a file all that it likes."""
            tables = [_width(self, item) for item in objects if isinstance(item, Table)]
            before = self.size
            if tables and (not self.is_terminal or max(tables) > self.width):
                self.width = max(tables)
            super().print(*objects, **options)
            self.size = before

    file: Any = None if stream is None else _Forgiving(stream, full)  # None: closed by who called
    return HarmlessConsole(file=file, stderr=not full, highlight=False)


def _width(console: "Console", table: "Table") -> int:
    """Characters that a table needs for all of its cells: in one line each in a file; those that may be wrapped are."""
    from rich.measure import Measurement

    wide = console.options.update(width=100_000)
    for column in table.columns:
        if column.no_wrap:
            cells = (column.header, *column.cells)
            column.min_width = max(Measurement.get(console, wide, cell).maximum for cell in cells)
    needed = Measurement.get(console, wide, table)
    return needed.minimum if console.is_terminal else needed.maximum


def say(console: "Console", text: str, style: str | None = None) -> None:
    """Print text as it is, without markup, and without breaking lines in a file."""
    console.print(text, style=style, markup=False, soft_wrap=not console.is_terminal)


def warn(text: str) -> None:
    """What a reader of the results must know, on stderr, so that it is seen where stdout goes to a file."""
    say(stderr_console(), text, "yellow")
