"""How far a job is: a bar on a terminal, a line every few seconds elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .console import say, stderr_console

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between lines where there is no terminal.
LINE_SECONDS = 5.0

ShowProgress = Callable[[int, int], None]


class Pace:
    """Rate and time left, from how much was done when.

    The first report comes before compilation and the second after the first block, so the rate counts from
    the second on, and there is none before the third.
    """

    def __init__(self) -> None:
        self._start: list[tuple[float, int]] = []
        self._last = (0.0, 0)

    def add(self, now: float, done: int) -> None:
        """Note that ``done`` tokens were done at ``now`` (seconds)."""
        self._start = [*self._start, (now, done)][:2]
        self._last = (now, done)

    @property
    def started(self) -> bool:
        """Whether compilation is over: a block is done."""
        return len(self._start) > 1

    @property
    def rate(self) -> float | None:
        """Tokens per second, None before anything can be said."""
        if not self.started:
            return None
        (start, first), (now, done) = self._start[1], self._last
        return (done - first) / (now - start) if now > start and done > first else None

    def words(self, total: int) -> str:
        """``"15,360 of 25,600 tokens (60%), 9,968 fits/s, 1 s left"``."""
        done = self._last[1]
        fraction = 100 * done // total if total else 100
        words = f"{done:,} of {total:,} tokens ({fraction}%)"
        if self.rate and done < total:
            words += f", {self.rate:,.0f} fits/s, {duration((total - done) / self.rate)} left"
        return words


def duration(seconds: float) -> str:
    """``"42 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
def showing_progress(console: "Console", clock: Callable[[], float] = time.monotonic) -> Iterator[ShowProgress]:
    """A function for `fit_store(progress=...)` that shows on ``console`` how far the job is."""
    pace = Pace()
    if console.is_terminal:
        with _bar(console, pace, clock) as show:
            yield show
        return
    last_line = -float("inf")

    def show_line(done: int, total: int) -> None:
        nonlocal last_line
        now = clock()
        first = last_line < 0
        pace.add(now, done)
        if now - last_line >= LINE_SECONDS or done >= total:
            say(console, f"fit: {pace.words(total)}" + ("; compiling" if first and done < total else ""))
            last_line = now

    yield show_line


@contextlib.contextmanager
def _bar(console: "Console", pace: Pace, clock: Callable[[], float]) -> Iterator[ShowProgress]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("opening", total=None)

        def show(done: int, total: int) -> None:
            pace.add(clock(), done)
            words = pace.words(total) + ("" if pace.started or done >= total else ", compiling")
            progress.update(task, total=total, completed=done, description=words)

        yield show
