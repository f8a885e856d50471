"""The course that runs of one family take, with a trend in ln(size), and the clock in which it is a power law."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls
from scipy.special import logsumexp

#: Exponents of the power laws that a finished run's course is a sum of.
_POWERS = np.geomspace(0.1, 3.0, 12)
#: Points of a clock, even in ln(step).
_POINTS = 64
#: A course is fitted from this part of the last step on: what comes before says nothing of forecasts.
_FIRST = 0.01
#: Least coefficient, nat: a course falls everywhere.
_FALLS = 1e-9
#: The exponents that a course may end with.
_LEAST, _MOST = 0.15, 1.5


class FamilyCourse(NamedTuple):
    """A finished run's loss as ``floor + Σ coefficient·(step/last)^-power``, all coefficients at least 0.

    Attributes:
        first: ln of the first step that was fitted.
        last: ln of the last one.
        coefficient: of the powers, nat at the last step.
    """

    first: float
    last: float
    coefficient: Float[np.ndarray, " powers"]

    def log_slope(self, x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """``ln(-d loss / d ln(step))`` at logarithms of steps."""
        return np.asarray(logsumexp(np.log(self.coefficient * _POWERS) - _POWERS * (x[:, None] - self.last), axis=1))

    def exponent(self, x: float) -> float:
        """How fast the slope falls there: of a single power law its exponent."""
        share = self.coefficient * _POWERS * np.exp(-_POWERS * (x - self.last))
        return float(share @ _POWERS / share.sum())


class FamilyClock(NamedTuple):
    """A clock in which the family's course is a power law.

    Attributes:
        log_step: (points,) logarithms of steps.
        log_clock: (points,) logarithms of the clock there, that of the last step.
        exponent: of the power law.
    """

    log_step: Float[np.ndarray, " points"]
    log_clock: Float[np.ndarray, " points"]
    exponent: float

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """As `ForecastPrior.clock` takes it."""
        return tuple(zip(self.log_step.tolist(), self.log_clock.tolist(), strict=True))


def fitted_course(step: Float[np.ndarray, " rows"], loss: Float[np.ndarray, " rows"]) -> FamilyCourse:
    """Least squares: a sum of falling power laws is smooth, falls everywhere and goes on as one beyond its rows."""
    kept = step >= min(_FIRST * step[-1], step[-3])
    x, y = np.log(step[kept]), loss[kept]
    powers = np.exp(-_POWERS * (x[:, None] - x[-1]))
    scale = powers.max(axis=0)
    found, _ = nnls(np.concatenate([np.ones((len(x), 1)), powers / scale], axis=1), y)
    return FamilyCourse(float(x[0]), float(x[-1]), (found[1:] + _FALLS) / scale)


def family_clock(courses: list[FamilyCourse], weight: Float[np.ndarray, " runs"]) -> FamilyClock:
    """The clock in which the mean course is a power law: ln(slope) is averaged, so that levels and heights are free.

    Beyond the last step it goes as the step does.
    """
    first, last = max(each.first for each in courses), max(each.last for each in courses)
    x = np.linspace(first, last, _POINTS)
    log_slope = weight @ np.stack([each.log_slope(x) - each.log_slope(x[-1:]) for each in courses])
    exponent = float(np.clip(weight @ [each.exponent(last) for each in courses], _LEAST, _MOST))
    slope, change = np.exp(log_slope), np.diff(log_slope)
    even = np.abs(change) < 1e-9
    between = np.where(even, slope[1:], np.diff(slope) / np.where(even, 1.0, change))  # of a power law exactly
    above = np.concatenate([np.cumsum((between * np.diff(x))[::-1])[::-1], [0.0]])
    return FamilyClock(x, last - np.log1p(exponent * above) / exponent, exponent)


def family_log_clock(
    log_step: Float[np.ndarray, "*rows"], pairs: tuple[tuple[float, float], ...] | None
) -> Float[np.ndarray, "*rows"]:
    """The clock's logarithm at steps: straight between the pairs, before them on that line, beyond them as the step."""
    if pairs is None:
        return log_step
    known, clock = np.asarray(pairs, np.float64).T
    pace = (clock[1] - clock[0]) / (known[1] - known[0])
    before, after = np.minimum(log_step - known[0], 0.0), np.maximum(log_step - known[-1], 0.0)
    return np.interp(log_step, known, clock) + pace * before + after
