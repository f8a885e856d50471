"""How far a job is, as a bar on a terminal and in a notebook."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from ..pace import Pace
from ..stream.blocks import Progress

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between two pictures of a bar in a notebook.
_NOTEBOOK_SECONDS = 0.5

Show = Callable[[int, int], None]


@contextlib.contextmanager
def shown(progress: Progress | Literal["auto"] | None) -> Iterator[Progress | None]:
    """A function to report to: what a user gave, or for ``"auto"`` a bar where somebody looks on.

    That is in a notebook and at a Python prompt; a script gets none.

    Raises:
        TypeError: it is no function.
    """
    if progress not in ("auto", None) and not callable(progress):
        raise TypeError(
            f"progress: got {progress!r}, expected 'auto', None for no bar, or a function of (tokens done, all tokens)"
        )
    if progress != "auto":
        yield progress
    elif _in_notebook():
        yield notebook_bar()
    elif hasattr(sys, "ps1") and sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console

        with terminal_bar(Console(stderr=True, highlight=False)) as show:
            yield show
    else:
        yield None


@contextlib.contextmanager
def terminal_bar(console: "Console", clock: Callable[[], float] = time.monotonic) -> Iterator[Show]:
    """A bar of `rich` on a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    pace, columns = Pace(), (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("opening", total=None)

        def show(done: int, total: int) -> None:
            pace.add(clock(), done)
            progress.update(task, total=total, completed=done, description=pace.words(total))

        yield show


def notebook_bar(clock: Callable[[], float] = time.monotonic) -> Show:
    """A bar below a notebook's cell, which stays in the notebook as it ended; needs no widgets."""
    from IPython.display import HTML, display

    pace, last = Pace(), -float("inf")
    handle: Any = display(HTML(""), display_id=True)

    def show(done: int, total: int) -> None:
        nonlocal last
        now = clock()
        pace.add(now, done)
        if now - last >= _NOTEBOOK_SECONDS or done >= total:
            last = now
            bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
            handle.update(HTML(f"{bar} {escape(pace.words(total))}"))

    return show


def _in_notebook() -> bool:
    """Whether a front end shows HTML: a kernel of Jupyter runs this, and not IPython's prompt."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None
