"""How far a job is, in words and as a bar."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from tsl_jax.cli.progress import showing_progress
from tsl_jax.jobs.progress import notebook_bar, shown
from tsl_jax.pace import Pace, duration


def pace(*points):
    pace = Pace()
    for now, done in points:
        pace.add(now, done)
    return pace


def test_the_rate_leaves_compiling_out():
    assert pace((0, 0)).rate is None
    assert pace((0, 0), (20, 100)).rate is None
    assert pace((0, 0), (20, 100)).words(200) == "100 of 200 tokens (50%)"
    assert pace((0, 0), (20, 100), (21, 300)).rate == 200
    assert pace((0, 0), (20, 100), (21, 300), (23, 400)).rate == 100


def test_a_resumed_job_counts_only_its_own_tokens():
    assert pace((0, 800), (5, 900), (15, 1000)).rate == 10
    words = pace((0, 800), (5, 900), (15, 1000)).words(2000)
    assert words == "1,000 of 2,000 tokens (50%), 10 fits/s, 1 min 40 s left"


def test_nothing_to_do_has_no_rate():
    assert pace((0, 50), (0, 50)).words(50) == "50 of 50 tokens (100%)"
    assert pace((0, 0)).words(0) == "0 of 0 tokens (100%)"
    assert pace((0, 0)).words(9) == "0 of 9 tokens (0%), compiling"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_without_a_terminal_a_line_every_few_seconds():
    file, times = io.StringIO(), iter([0, 1, 6, 7, 8])
    with showing_progress(Console(file=file, width=40), clock=lambda: next(times)) as show:
        for done in (0, 10, 60, 70, 100):
            show(done, 100)
    assert file.getvalue().splitlines() == [
        "fit: 0 of 100 tokens (0%), compiling",
        "fit: 60 of 100 tokens (60%), 10 fits/s, 4 s left",
        "fit: 100 of 100 tokens (100%)",
    ]


def test_on_a_terminal_a_bar_with_rate_and_time_left():
    file, times = io.StringIO(), iter([0, 1, 6])
    console = Console(file=file, force_terminal=True, width=120, color_system=None)
    with showing_progress(console, clock=lambda: next(times)) as show:
        for done in (0, 10, 60):
            show(done, 100)
    assert "60 of 100 tokens (60%), 10 fits/s, 4 s left" in file.getvalue()
    assert "━" in file.getvalue()


def test_a_script_is_shown_none_and_a_users_function_is_taken_as_it_is():
    with shown("auto") as show:
        assert show is None
    with shown(None) as show:
        assert show is None
    with shown(print) as show:
        assert show is print


def test_in_a_notebook_a_bar_without_widgets(monkeypatch):
    import IPython
    import IPython.display

    pictures = []
    handle = SimpleNamespace(update=lambda picture: pictures.append(picture.data))
    monkeypatch.setattr(IPython.display, "display", lambda *_, **__: handle)
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    with shown("auto") as show:
        assert show is not None
        show(0, 100)
        show(100, 100)
    assert pictures == [
        '<progress value="0" max="100"></progress> 0 of 100 tokens (0%), compiling',
        '<progress value="100" max="100"></progress> 100 of 100 tokens (100%)',
    ]
    times = iter([0, 0.1, 0.6])
    show, before = notebook_bar(clock=lambda: next(times)), len(pictures)
    for done in (0, 10, 60):
        show(done, 100)
    assert len(pictures) - before == 2
