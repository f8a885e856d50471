"""What makes scores of sequences doubtful: windows outside what was measured, and windows with hardly any events."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...reshape import Reliability

#: Fewer events a sequence than this are hardly any: what ranks most sequences is chance.
LEAST_EVENTS = 1.0
#: A window may count this fraction of its events before the first checkpoint, where nothing was measured.
MOST_OUTSIDE = 0.01


#: The way out where the default counts too few events.
EVERY_EVENT = (
    "count every event with tested=False (--events all), since at few checkpoints few events are known to come again "
    "in another run"
)


class Doubt(NamedTuple):
    """What makes scores doubtful, as a sentence; and why they are mere noise, empty where they are not."""

    text: str
    noise: str = ""


def doubts_of(
    window: tuple[float, float],
    measured: tuple[float, float],
    axis: str,
    events: np.ndarray,
    seen: float,
    *,
    tested: bool,
) -> tuple[Doubt, ...]:
    """Why scores of a run are doubtful.

    Args:
        window: that is scored, axis units.
        measured: first and last checkpoint, axis units.
        axis: its name.
        events: (sequences,) expected events within the window.
        seen: how many of all these lie between the first and the last checkpoint.
        tested: whether they count by how likely another run has them.
    """
    return (*_outside(window, measured, axis, 1 - seen / events.sum()), *_hardly_any(events, tested))


def _outside(window: tuple[float, float], measured: tuple[float, float], axis: str, fraction: float) -> Iterator[Doubt]:
    """Whether a window reaches past what was measured, and what that does to its events."""
    steps = f"the measured part of training ({axis} {measured[0]:g} to {measured[1]:g})"
    if window[1] <= measured[0] or window[0] >= measured[1]:
        yield Doubt(
            f"The window {window[0]:g} to {window[1]:g} lies outside {steps}: its events are extrapolated from the "
            "ends of curves.",
            "nothing was measured within the window",
        )
    elif window[1] > measured[1]:
        yield Doubt(
            f"The window ends after {steps}: few events after its end can be known, and {fraction:.1%} of those "
            "counted are extrapolated."
        )
    elif fraction > MOST_OUTSIDE:
        yield Doubt(
            f"The window begins before {steps}: {fraction:.1%} of the events counted in it lie there, extrapolated."
        )


def _hardly_any(events: np.ndarray, tested: bool) -> Iterator[Doubt]:
    """Whether sequences have too few events for their scores to differ by more than chance."""
    mean = float(np.mean(events))
    if mean < LEAST_EVENTS:
        yield Doubt(
            f"The window holds hardly any events: {mean:.2g} a sequence ({events.sum():,.1f} in all), so that buckets "
            f"are mostly chance; take a wider window, or longer sequences{f', or {EVERY_EVENT}' if tested else ''}.",
            "the window holds hardly any events",
        )


def noise_of(score: np.ndarray, between_runs: Reliability) -> str:
    """Why scores are mere noise: they do not differ, or not alike in all runs; empty where they are not."""
    if np.ptp(score) == 0:
        return f"all {len(score)} sequences have the same score, so that buckets would be chance"
    if between_runs.low <= 0:
        return (
            f"scores of the runs agree no better than chance (reliability {between_runs.value:.2f}, 95% interval "
            f"{between_runs.low:.2f} to {between_runs.high:.2f}); take a wider window, or more runs"
        )
    return ""
