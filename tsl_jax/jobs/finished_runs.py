"""Finished runs put together as laws of schedules are fitted to them."""

from collections.abc import Sequence

import numpy as np

from ..temporal.clock.dynamic_time import schedule_from_rates
from ..temporal.clock.schedule_rows import history, join_histories
from ..temporal.laws.selection import SizeRuns
from .runs import Run, RunError, rates_until

#: Most rows of a run: beyond, means of neighbours stand for them.
_ROWS = 150


def joined_runs(runs: Sequence[Run], warmup: int | None = None) -> SizeRuns:
    """All rows after each run's warm-up, at most 150 a run.

    Args:
        runs: with recorded learning rates.
        warmup: length of the linear warm-up of all runs, where the files do not say it.

    Raises:
        RunError: a run without learning rates, or without 3 rows after its warm-up.
    """
    histories, losses = [], []
    for run in runs:
        rates = rates_until(run, run.step[-1], "recorded", warmup, "the run")
        if rates is None:
            raise RunError(f"{run.name}: has no learning rates, so that no law of schedules can be fitted; record them")
        risen = int(np.argmax(rates >= 0.999 * rates.max())) + 1
        later = run.step >= risen
        step, loss = _thinned(run.step[later], run.loss[later])
        if len(step) < 3:
            raise RunError(
                f"{run.name}: {len(step)} losses after the learning rate is highest (update {risen}), expected at "
                "least 3; give a run that went on for longer"
            )
        histories.append(history(schedule_from_rates(rates), step))
        losses.append(loss)
    number = np.repeat(np.arange(len(runs)), [len(loss) for loss in losses])
    return SizeRuns(join_histories(histories), np.concatenate(losses), number)


def _thinned(step: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Few enough rows: means of as many neighbours each, at the middle step; the first rows may be left out."""
    together = -(-len(step) // _ROWS)
    drop = len(step) % together
    means = [values[drop:].reshape(-1, together).mean(axis=1) for values in (step, loss)]
    return means[0].round(), means[1]
