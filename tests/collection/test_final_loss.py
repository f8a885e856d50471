"""The estimate of the final loss beside a run: what is asked, when, and what comes of it."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from tsl_jax.collection import FinalLoss, final_loss
from tsl_jax.collection.final_loss_worker import answer


class Instead:
    """In place of the other process: remembers the questions, answers when it is told to."""

    made = ()

    def __init__(self):
        self.questions, self.answer, self.busy, self.closed = [], None, False, False
        Instead.made = (*Instead.made, self)

    def ask(self, question):
        self.questions.append(question)

    def close(self):
        self.closed = True


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.setattr(final_loss, "_Worker", Instead)
    Instead.made = ()
    return lambda: Instead.made[0]


def fed(final, steps):
    for step in steps:
        final.add(step, 3 + 20 * step**-0.5)
    return final


def test_it_asks_once_a_minute_from_the_eighth_loss_on(worker, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(final_loss.time, "monotonic", lambda: now[0])
    final = fed(FinalLoss(1000), range(10, 80, 10))
    assert final.poll() is None
    assert not Instead.made
    fed(final, [80]).poll()
    assert len(worker().questions) == 1
    for now[0], asked in ((59.0, 1), (60.0, 2), (100.0, 2), (120.0, 3)):
        final.poll()
        assert len(worker().questions) == asked
    worker().busy, now[0] = True, 1000.0
    final.poll()
    assert len(worker().questions) == 3
    final.close()
    assert worker().closed


def test_what_is_asked_and_what_comes_back(worker):
    rates = np.linspace(1, 0.1, 1000)
    final = fed(FinalLoss(1000, rates, every=0), range(10, 110, 10))
    final.add(105, float("nan"))
    final.poll()
    (question,) = worker().questions
    assert question["step"] == list(range(10, 110, 10))
    assert question["last_step"] == 1000
    np.testing.assert_array_equal(question["learning_rate"], rates)
    numbers = {"step": 1000.0, "seen": 100.0, "mean": 3.0, "low": 2.0, "high": 4.0, "scheduled": True}
    worker().answer = {"estimate": numbers}
    estimate = final.poll()
    assert dataclasses.asdict(estimate) == numbers
    assert sorted(estimate.logged()) == ["final_loss", "final_loss_high", "final_loss_low"]
    assert "learning_rate" not in worker().questions[1]  # it knows them
    assert final.poll() is None


def test_the_other_process_forecasts():
    final = fed(FinalLoss(10_000, every=0), range(100, 2000, 50))
    assert final.poll() is None
    final.wait(300)
    estimate = final.poll()
    assert abs(estimate.mean - 3.2) < 0.05
    assert estimate.low < estimate.mean < estimate.high
    assert (estimate.seen, estimate.step, estimate.scheduled) == (1950, 10_000, False)
    final.close()


def test_a_run_that_goes_back_forgets_what_came_after(worker):
    final = fed(FinalLoss(1000, every=0), range(10, 210, 10))
    final.add(100, 9.0)
    final.poll()
    assert worker().questions[0]["step"] == list(range(10, 110, 10))
    assert worker().questions[0]["loss"][-1] == 9.0


def test_why_there_is_no_estimate(worker):
    final = FinalLoss(1000, every=0)
    for step in range(10, 110, 10):
        final.add(step, 1 + step / 100)
    final.poll()
    worker().answer = answer(worker().questions[0], None)
    assert final.poll() is None
    assert "expected a loss that falls" in final.reason


def test_nothing_is_asked_at_the_end(worker):
    fed(FinalLoss(100, every=0), range(10, 110, 10)).poll()
    assert not Instead.made


def test_a_process_that_ends_is_told(monkeypatch):
    monkeypatch.setattr(final_loss, "_MODULE", "no_such_module")
    final = fed(FinalLoss(1000, every=0), range(10, 110, 10))
    final.poll()
    final.wait(60)
    assert final.poll() is None
    assert "the process that forecasts has ended; try:" in final.reason
    final.close()


def test_the_process_ends_with_the_one_that_trains():
    code = "from tsl_jax.collection import FinalLoss\nfinal = FinalLoss(1000, every=0)\n"
    code += "for step in range(10, 110, 10):\n    final.add(step, 3 + 20 * step**-0.5)\n"
    code += "final.poll()\nprint(final._worker._process.pid)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"last_step": 0}, "last_step: got 0, expected the last step of the run"),
        ({"last_step": 10, "learning_rate": [0.1] * 9}, r"got shape \(9,\), expected one for each of 10 updates"),
    ],
)
def test_bad_arguments(given, words):
    with pytest.raises(ValueError, match=words):
        FinalLoss(**given)
