"""How far a job is, on stderr: a bar on a terminal, a line every few seconds elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..pace import Pace
from .streams import say, stderr_console

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between lines where there is no terminal.
LINE_SECONDS = 5.0

ShowProgress = Callable[[int, int], None]


def lines(name: str) -> ShowProgress:
    """A function that says on stderr, every few seconds, how many tokens are done."""
    console, last = stderr_console(), time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            say(console, f"{name}: {done:,} of {total:,} tokens")

    return show


@contextlib.contextmanager
def token_bar(console: "Console") -> Iterator[ShowProgress | None]:
    """A function that shows on a terminal how many tokens are done; None elsewhere, where lines say it."""
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("loading", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, total=total, completed=done, description=f"{done:,} of {total:,} losses")

        yield show


@contextlib.contextmanager
def showing_progress(
    console: "Console | None" = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[ShowProgress]:
    """A function for `fit_store(progress=...)` that shows on stderr, or ``console``, how far the job is."""
    from ..jobs.progress import terminal_bar

    console = console or stderr_console()
    if console.is_terminal:
        with terminal_bar(console, clock) as show:
            yield show
        return
    pace, last_line = Pace(), -float("inf")

    def show_line(done: int, total: int) -> None:
        nonlocal last_line
        now = clock()
        pace.add(now, done)
        if now - last_line >= LINE_SECONDS or done >= total:
            say(console, f"fit: {pace.words(total)}")
            last_line = now

    yield show_line
