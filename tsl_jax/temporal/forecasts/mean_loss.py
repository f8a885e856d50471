"""Forecast of the mean loss for the rest of training, from its beginning."""

import dataclasses

import numpy as np
from jaxtyping import Array, Bool, Float

from ...arguments import whole_number
from ...jax_switches import with_own_switches
from ...pytrees import pytree, static
from ..checks import generator
from .calibration import calibrated, early_paths
from .mixture import mixed_forecast
from .prior_numbers import DEFAULT_PRIOR, ForecastPrior
from .rows import (
    STARTS,
    checked_curve,
    chosen_laws,
    later_steps,
    law_rows,
    log_weights,
    origins_of,
    rates_of,
    thinned,
)
from .too_early import SLOWED, slope_ratio

#: Levels of the bands.
LEVELS = (0.5, 0.9)
#: Rolling origins within the seen part.
_ORIGINS = 5
#: The prior of a run that has not slowed down yet: almost straight over the logarithm of the clock, from the first row
#: on, since a steep beginning that dies would tell the end from what is least like it.
_UNKNOWN_COURSE = {"exponent": 0.2, "exponent_std": 0.5, "transient": 0.05, "drift": 0.03}


@pytree
class Forecast:
    """Mean loss at later steps, with bands.

    Attributes:
        step: training steps of the forecast.
        mean: expected loss, nat.
        lower: lower ends of the bands of `LEVELS`, 50 and 90%, nat.
        upper: upper ends.
        paths: drawn courses of the loss, each equally likely, nat.
        weight: of every law; they add up to 1.
        rolling_error: of every law, root mean square error of its predictions within the seen part, nat.
        gain_known: how much of the gain's uncertainty the seen part has removed: 0 says that the forecast of what
            annealing brings is the prior's.
        reach: the last clock of the forecast over the last one seen.
        seen_fall: how far the learning rate has fallen from its highest value before, as a fraction of its highest.
        unseen_fall: how much further the learning rate falls than was seen, as a fraction of its highest value.
        unseen_rise: how much higher the learning rate gets than was seen, as a fraction of the highest seen.
        num_seen: rows that were seen.
        scheduled: whether the schedule was known.
        too_early: whether the loss still falls as steeply, in an e-fold of training, as at the beginning, so that no
            law says where it will end.
        laws: names of the laws (static).
    """

    step: Float[np.ndarray, " rows"]
    mean: Float[np.ndarray, " rows"]
    lower: Float[np.ndarray, "levels rows"]
    upper: Float[np.ndarray, "levels rows"]
    paths: Float[np.ndarray, "paths rows"]
    weight: Float[np.ndarray, " laws"]
    rolling_error: Float[np.ndarray, " laws"]
    gain_known: Float[np.ndarray, ""]
    reach: Float[np.ndarray, ""]
    seen_fall: Float[np.ndarray, ""]
    unseen_fall: Float[np.ndarray, ""]
    unseen_rise: Float[np.ndarray, ""]
    num_seen: Float[np.ndarray, ""]
    scheduled: Bool[np.ndarray, ""]
    too_early: Bool[np.ndarray, ""]
    laws: tuple[str, ...] = static()

    @property
    def warnings(self) -> tuple[str, ...]:
        """In which ways the forecast lies outside what the data support; empty where it does not."""
        said = []
        if bool(self.too_early):
            said.append(
                "too early to tell: over the logarithm of training the loss falls as steeply as at the beginning, so "
                "that where it ends is open; the line goes on almost straight, trust the bands alone"
            )
        if float(self.reach) > 10:
            said.append(
                f"the forecast reaches {float(self.reach):.0f} times as far as the seen part: trust the bands, not "
                "the line"
            )
        if float(self.unseen_fall) > 0.05 and (float(self.gain_known) < 0.5 or float(self.seen_fall) < 0.05):
            said.append(
                f"the learning rate will fall by {float(self.unseen_fall):.0%} of its highest value more than was "
                "seen: what that brings is a prior, not data"
            )
        if float(self.unseen_rise) > 0.02:
            said.append(
                f"the learning rate will rise {float(self.unseen_rise):.0%} above the highest that was seen: no law "
                "here knows what that does"
            )
        if not self.scheduled:
            said.append("the schedule is unknown: if the learning rate falls, the loss will end below this forecast")
        if int(self.num_seen) < 8:
            said.append(f"only {int(self.num_seen)} losses were seen: the law's exponent is mostly the prior's")
        return tuple(said)


@with_own_switches
def forecast(
    step: Float[np.ndarray, " rows"],
    loss: Float[np.ndarray, " rows"],
    at: Float[np.ndarray, " later"],
    *,
    learning_rate: Float[np.ndarray, " updates"] | None = None,
    prior: ForecastPrior = DEFAULT_PRIOR,
    laws: tuple[str, ...] | None = None,
    key: Array | None = None,
    own_key: Array | None = None,
    paths: int = 1000,
) -> Forecast:
    """Forecasts the mean loss at later steps from the losses of a young run.

        ``loss = floor + A·clock^-α - gain·response + drift + noise``

    Four laws of this form are averaged: a power law of the step, which knows no schedule; the same law of dynamic
    time; the memory law and the multi-power law, whose response says what falls of the learning rate have
    brought. Of each the exponent, the answer's kernel and three sizes of noise lie on a grid; everything else is
    integrated in closed form. A slope that drifts over the logarithm of the clock stands for what no law knows: the
    bands widen with the distance. How much each law counts, and which early rows count, is decided by its
    predictions of the later part of what was seen from the earlier part.

    Args:
        step: (rows,) steps of the seen losses, increasing, above 0 or the first 0 (which is left out).
        loss: (rows,) mean loss there, nat.
        at: (later,) steps to forecast, increasing, after the last seen one.
        learning_rate: (updates,) rate of every update from update 1 up to the last step of ``at`` at least, or an
            object with such an attribute; ``None``: unknown, and only the power law of the step is left.
        prior: see `ForecastPrior`.
        laws: which of `LAWS` to average; by default all that the schedule allows.
        key: random key for the paths; by default always the same.
        own_key: random key for what is this run's own, by default made of ``key``. Forecasts with one ``key`` and
            different ``own_key`` draw the same gains, as runs of one family have them; `rank` does so.
        paths: how many paths to draw.

    Returns:
        `Forecast`; its `warnings` say where it lies outside what the data support.

    Raises:
        TypeError: an argument is of another type, such as losses that are no real numbers.
        ValueError: fewer than 3 rows, steps that do not increase, a loss that is not finite or that rises from the
            beginning to the end, losses too far from a nat for finite forecasts, a step of ``at`` that was seen, a
            schedule shorter than ``at``, an unknown law.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import forecast
        >>> step = np.arange(100.0, 2100.0, 50.0)
        >>> found = forecast(step, 3 + 20 * step**-0.5, np.array([4000.0, 10000.0]))
        >>> bool(abs(found.mean[-1] - 3.2) < 0.02), found.laws
        (True, ('step power law',))

    Source: laws of arXiv 2602.03685, 2408.11029 and 2503.12811.
    """
    if not isinstance(prior, ForecastPrior):
        raise TypeError(f"prior: got {type(prior).__name__}, expected tsl_jax.temporal.ForecastPrior(...)")
    paths = whole_number("paths", paths)
    step, loss, at = checked_curve(step, loss, at)
    rates = rates_of(learning_rate, at[-1])
    names = chosen_laws(laws, rates is not None)
    known_step, known_loss = thinned(step, loss)
    nodes = later_steps(at)
    rows = law_rows(names, np.concatenate([known_step, nodes]), rates, known_loss, prior)
    seen = rows.log_clock[-1, : len(known_loss)]
    steepness = slope_ratio(seen, known_loss + prior.gain * rows.response[-1, 0, : len(known_loss)])
    early = steepness > SLOWED
    if early:
        prior = dataclasses.replace(prior, **_UNKNOWN_COURSE)
    shared = generator("key", key)
    own = generator("key", key, 1) if own_key is None else generator("own_key", own_key)
    masks = origins_of(seen, STARTS, _ORIGINS)
    with np.errstate(over="ignore", invalid="ignore"):  # what is then not finite is refused below
        found = mixed_forecast(rows, known_loss, masks, log_weights(names, prior), prior, shared, own, paths)
    drawn = np.stack([np.interp(at, nodes, path) for path in found.paths])
    drawn = early_paths(drawn, loss[-1], own) if early else calibrated(drawn, at / step[-1], own, prior.kept)
    if not np.all(np.isfinite(drawn)):
        raise ValueError(
            f"loss: got values from {loss.min():g} to {loss.max():g}, of which no law makes finite forecasts; expected "
            "mean losses in nat, such as 11 to 2"
        )
    lower, upper = (np.quantile(drawn, [0.5 + sign * level / 2 for level in LEVELS], axis=0) for sign in (-1, 1))
    return Forecast(
        step=at,
        mean=drawn.mean(axis=0),
        lower=lower,
        upper=upper,
        paths=drawn,
        weight=found.weight,
        rolling_error=found.rolling_error,
        gain_known=np.asarray(found.gain_known),
        num_seen=np.asarray(len(step)),
        scheduled=np.asarray(rates is not None),
        too_early=np.asarray(early),
        laws=names,
        reach=np.exp(rows.log_clock[-1, -1] - seen[-1]),
        **_falls(rates, step[-1], at[-1]),
        unseen_rise=np.asarray(0.0 if rates is None else rates.max() / _highest(rates, step[-1]) - 1),
    )


def _falls(rates: np.ndarray | None, last: float, end: float) -> dict[str, np.ndarray]:
    """How far the rate falls up to the last seen step, and how much further: from the highest rate before each fall."""
    if rates is None:
        return {"seen_fall": np.asarray(0.0), "unseen_fall": np.asarray(0.0)}
    falls = [part.max() - part[int(np.argmax(part)) :].min() for part in (rates[: max(int(n), 1)] for n in (last, end))]
    seen, whole = np.array(falls) / rates[: int(end)].max()
    return {"seen_fall": np.asarray(seen), "unseen_fall": np.asarray(max(whole - seen, 0.0))}


def _highest(rates: np.ndarray, last: float) -> float:
    """The highest rate up to a step; the first above 0 where that is still to come."""
    return float(rates[: max(int(last), int(np.argmax(rates > 0)) + 1)].max())
