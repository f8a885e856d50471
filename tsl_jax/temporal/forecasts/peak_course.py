"""The loss that a run would have at its highest learning rate: what annealing brings goes with a power of it."""

import numpy as np

from .family_course import family_log_clock
from .prior_numbers import ForecastPrior

#: Least share of the lowest seen loss that the course falls to.
_LEAST = 0.3


def relative_course(log_clock: np.ndarray, loss: np.ndarray, response: np.ndarray, prior: ForecastPrior) -> np.ndarray:
    """(rows,) ``(course / course at gain_time)^gain_power`` at all rows, from the losses of the first ones.

    The course is ``floor + A·clock^-exponent``, least squares through the losses with what the prior says that
    annealing has brought added back: rough, but of the gain only a power of a ratio is taken. Without a
    ``gain_time`` that of the last seen loss takes its place.
    """
    seen = len(loss)
    last = log_clock[seen - 1]
    then = last if prior.gain_time is None else family_log_clock(np.log(prior.gain_time), prior.clock)
    fall, fallen = (np.exp(-prior.exponent * (x - last)) for x in (log_clock, then))
    at_peak = loss + prior.gain * response[:seen]
    centred = fall[:seen] - fall[:seen].mean()
    slope = max(float(centred @ at_peak) / max(float(centred @ centred), 1e-12), 0.0)
    course, unit = (
        np.maximum(at_peak.mean() + slope * (x - fall[:seen].mean()), _LEAST * loss.min()) for x in (fall, fallen)
    )
    return (course / unit) ** prior.gain_power
