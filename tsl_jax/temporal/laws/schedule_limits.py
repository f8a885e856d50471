"""What finished runs have shown of learning rates, and where a schedule leaves it."""

from typing import NamedTuple

import numpy as np

from ...arguments import real_number, whole_number
from .schedule_search import Bounds
from .selection import SizeRuns

#: A run lowers its rate where it ends below its highest rate by more than this fraction of it.
_FALLS = 0.05
#: Budgets beyond the longest run, and rates beyond those seen, by more than this fraction are said.
_BEYOND = 0.02


class SeenRates(NamedTuple):
    """Of all runs, after their warm-ups.

    Attributes:
        peak: highest rate.
        lowest: lowest rate.
        fall: largest fall of a run as a fraction of its highest rate.
        last: last step of the longest run.
        spacing: median updates between rows.
    """

    peak: float
    lowest: float
    fall: float
    last: int
    spacing: int


def seen_rates(runs: SizeRuns) -> SeenRates:
    """Rates at the rows from each run's highest one on: those of a warm-up were not fallen to.

    Raises:
        ValueError: fewer than two runs, or none whose rate falls.
    """
    run = np.asarray(runs.run)
    step, rate = (np.asarray(a, np.float64) for a in (runs.history.step, runs.history.learning_rate))
    numbers = np.unique(run)
    if len(numbers) < 2:
        raise ValueError(
            f"runs: got {len(numbers)}, expected at least two finished runs, so that each can be predicted from the "
            "others; add one with another schedule"
        )
    parts = [rate[run == number] for number in numbers]
    after = [part[int(np.argmax(part)) :] for part in parts]
    fall = max(1 - part.min() / part.max() for part in after)
    if fall < _FALLS:
        raise ValueError(
            f"runs: the learning rate of none falls by more than {_FALLS:.0%} of its peak, so that nothing says what a "
            "decay brings; add a run with one"
        )
    spacing = np.median(np.concatenate([np.diff(step[run == number]) for number in numbers]))
    lowest = min(float(part.min()) for part in after)
    return SeenRates(float(rate.max()), lowest, float(fall), int(step.max()), max(int(spacing), 1))


def bounds_of(
    seen: SeenRates, length: int, peak: float | None, lowest: float | None, shortest_fall: int | None
) -> Bounds:
    """The bounds of a search over so many updates after the warm-up.

    Raises:
        ValueError: rates that are out of order, or too few updates.
    """
    peak = seen.peak if peak is None else real_number("peak", peak, "a positive rate")
    if not peak > 0:
        raise ValueError(f"peak: got {peak:g}, expected a positive rate; leave it out for the runs' {seen.peak:g}")
    lowest = min(seen.lowest, peak / 2) if lowest is None else real_number("lowest", lowest, "a rate")
    if not 0 <= lowest < peak:
        raise ValueError(f"lowest: got {lowest:g}, expected a rate from 0 to below the peak, {peak:g}")
    shortest = seen.spacing if shortest_fall is None else whole_number("shortest_fall", shortest_fall)
    if length <= 2 * shortest:
        raise ValueError(
            f"num_steps: {length} updates are left after the warm-up, expected more than {2 * shortest}, twice the "
            "shortest last fall; give a larger budget or a smaller shortest_fall"
        )
    return Bounds(peak, lowest, shortest)


def outside(rate: np.ndarray, warmup: int, seen: SeenRates, bounds: Bounds) -> tuple[str, ...]:
    """Where a schedule lies outside what the runs have shown, in sentences; and where it is at the shortest fall."""
    said, after = [], rate[max(warmup, 1) - 1 :]
    if len(rate) > (1 + _BEYOND) * seen.last:
        said.append(f"the budget is {len(rate) / seen.last:.1f} times the longest run, {seen.last:,} updates")
    if after.max() > (1 + _BEYOND) * seen.peak:
        said.append(f"the learning rate rises to {after.max():.3g}, above the highest that was seen, {seen.peak:.3g}")
    if after.min() < (1 - _BEYOND) * seen.lowest:
        said.append(f"the learning rate falls to {after.min():.3g}, below the lowest that was seen, {seen.lowest:.3g}")
    fall = 1 - after[-1] / after.max()
    if fall > seen.fall + _BEYOND:
        said.append(f"the learning rate falls by {fall:.0%} of its peak, and by {seen.fall:.0%} at most in the runs")
    begins = int(np.argmax(after < after.max() - _FALLS * (after.max() - after[-1])))
    if fall > _FALLS and len(after) - begins <= bounds.shortest:
        said.append(
            f"the decay takes the shortest time that was allowed, {bounds.shortest:,} updates: the law follows the "
            "rate faster than the rows of the runs can show, and where the decay begins is this bound, not a finding"
        )
    return tuple(said)
