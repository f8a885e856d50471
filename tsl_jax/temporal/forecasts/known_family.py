"""The prior that finished runs of a constant learning rate give for another one of their family.

What they have in common is the course's shape, which goes with ln(size). How far a run's own course may be off it is
chosen by forecasts of each of them by the others.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp, ndtri, softmax

from .family_course import FamilyCourse, family_clock, fitted_course
from .law_posterior import Rows, posterior
from .mean_loss import forecast
from .paths import moments
from .prior_numbers import ForecastPrior
from .rows import FEWEST, LAWS, STARTS, law_rows, origins_of, thinned
from .trends import SPREADS, trend_weights

#: What is tried in turn beside the prior's own numbers.
_TRIED = {
    "exponent_std": (0.15, 0.1, 0.07, 0.05),
    "transient": (0.05, 0.02),
    "drift_std": (0.5,),
    "drift": (0.002, 0.001),
}
#: Parts of the known runs from which the rest is forecast.
_SEEN = (0.1, 0.2, 0.4)
#: Fewest runs that choose anything: fewer do not tell their own scatter.
_FEWEST_RUNS = 4
#: As many runs the prior's own calibration counts; paths of a forecast that judges it.
_KEPT_RUNS, _PATHS = 5, 400
#: Least standard deviation of a forecast, nat.
_LEAST_STD = 1e-4
#: No more runs than these are forecast, those of sizes next to the one that is asked for.
_MOST_RUNS = 12

#: A finished run: steps and losses.
FinishedRun = tuple[np.ndarray, np.ndarray]
#: Fields of `ForecastPrior`.
Numbers = dict[str, Any]


def family_prior(runs: list[FinishedRun], place: np.ndarray, at: float | None, prior: ForecastPrior) -> ForecastPrior:
    """Replaces clock and exponent of a prior by the runs', and what a run may be off them where forecasts say so.

    ``forecast`` of each known run by the others says it: the exponent's scatter, the early transient, the drift and how
    wide the bands are. From fewer than four runs that is not told, and the prior's own numbers stay.

    Args:
        runs: steps and losses.
        place: (runs,) ln(size), of those of unknown size the mean.
        at: ln(size) of the run to be forecast; ``None``: unknown.
        prior: what is taken where the runs do not say otherwise.

    Returns:
        `ForecastPrior`.
    """
    spread, where = SPREADS["exponent"], float(place.mean()) if at is None else at
    thin = [thinned(*run) for run in runs]
    family = RunFamily([fitted_course(*run) for run in thin], place)
    nearest = [run for run in np.argsort(np.abs(place - where), kind="stable") if _parts(thin[run][0])][:_MOST_RUNS]
    if len(nearest) >= _FEWEST_RUNS:
        known, others = [thin[run] for run in nearest], [family.without(run).at(float(place[run])) for run in nearest]
        prior = _averaged(known, others, prior)
        prior = dataclasses.replace(prior, kept=_kept(known, others, prior))
    outside = max(place.min() - where, where - place.max(), 0.0)
    std = float(np.hypot(prior.exponent_std, spread.slope * outside))
    return dataclasses.replace(prior, exponent_std=std, **family.at(where))


class RunFamily(NamedTuple):
    """What finished runs show, each by itself.

    Attributes:
        courses: of the runs.
        place: (runs,) ln(size).
    """

    courses: list[FamilyCourse]
    place: np.ndarray

    def without(self, run: int) -> "RunFamily":
        """The family without one run."""
        return RunFamily(self.courses[:run] + self.courses[run + 1 :], np.delete(self.place, run))

    def at(self, place: float) -> Numbers:
        """Clock and exponent at a ln(size), as `ForecastPrior` takes them."""
        clock = family_clock(self.courses, trend_weights(self.place, place, SPREADS["exponent"]))
        return {"clock": clock.pairs, "exponent": clock.exponent}


def _averaged(runs: list[FinishedRun], others: list[Numbers], prior: ForecastPrior) -> ForecastPrior:
    """The prior with geometric means of the tried numbers and its own, weighted by how likely they make the known runs.

    One number after another. A run counts as one observation, as errors along it are close to one error; numbers that
    few runs cannot tell apart are averaged, and not chosen among.

    Args:
        runs: known ones.
        others: of each what the others say of it.
        prior: what is averaged with.
    """
    for name, values in _TRIED.items():
        own = getattr(prior, name)
        tried = [own, *(value for value in values if value < own)]
        scores = [
            sum(
                _score(run, dataclasses.replace(prior, **{name: value}, **of_run))
                for run, of_run in zip(runs, others, strict=True)
            )
            for value in tried
        ]
        prior = dataclasses.replace(prior, **{name: float(np.exp(softmax(scores) @ np.log(tried)))})
    return prior


def _score(run: FinishedRun, prior: ForecastPrior) -> float:
    """Mean log density of the rest of a run, forecast from its first parts."""
    step, loss = run
    found = []
    for seen, later in _parts(step):
        rows = law_rows(LAWS[:1], step, None, loss[:seen], prior).of_law(0)
        found.append(_log_density(rows, loss, seen, later, prior))
    return float(np.mean(found))


def _kept(runs: list[FinishedRun], others: list[Numbers], prior: ForecastPrior) -> float:
    """What of the drawn spread forecasts need: root mean square of the errors as quantiles of a standard normal.

    The prior's own counts as much as `_KEPT_RUNS` runs.
    """
    square = []
    for (step, loss), own in zip(runs, others, strict=True):
        drawn = dataclasses.replace(prior, kept=1.0, **own)
        for seen, later in _parts(step):
            try:
                found = forecast(step[:seen], loss[:seen], step[later], prior=drawn, paths=_PATHS)
            except ValueError:  # a part that has not fallen yet is no course to forecast
                continue
            below = (np.sum(found.paths < loss[later], axis=0) + 0.5) / (_PATHS + 1)
            square.append(np.mean(np.square(ndtri(below))))
    counted = len(square) / len(_SEEN)
    return float(np.sqrt((_KEPT_RUNS * prior.kept**2 + np.sum(square) / len(_SEEN)) / (_KEPT_RUNS + counted)))


def _parts(step: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """How many rows are seen, and three later ones at which forecasts are judged, for each part of a run."""
    found = []
    for part in _SEEN:
        seen = max(int(np.searchsorted(step, step[0] + part * (step[-1] - step[0]), side="right")), FEWEST)
        if seen < len(step):
            found.append((seen, np.unique(np.linspace(seen, len(step) - 1, 4).round().astype(int)[1:])))
    return found


def _log_density(rows: Rows, loss: np.ndarray, seen: int, later: np.ndarray, prior: ForecastPrior) -> float:
    """Mean log density of some later losses, over the starts of a forecast alike."""
    known = origins_of(rows.log_clock[:seen], STARTS, 1)[:, -1]
    density = []
    for rows_known in known:
        mean, variance = moments(posterior(rows.at(slice(seen)), loss[:seen], rows_known, prior), rows.at(later))
        std = np.sqrt(variance) + _LEAST_STD
        density.append(-0.5 * np.square((loss[later] - mean) / std) - np.log(std))
    return float(np.mean(np.asarray(logsumexp(density, axis=0))) - np.log(len(density)))
