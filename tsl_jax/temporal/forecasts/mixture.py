"""Forecast of one run as a mixture of laws: their posteriors, their weights from rolling origins, and drawn paths."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import softmax

from .law_posterior import Posterior, Rows, posterior
from .paths import draw, moments, picked
from .prior_numbers import ForecastPrior


class MixedForecast(NamedTuple):
    """What `mixed_forecast` finds.

    Attributes:
        paths: drawn courses of the loss at the rows of the forecast, nat.
        weight: of every law; they add up to 1.
        rolling_error: of every law, root mean square error of its predictions within the seen part, nat.
        gain_known: how much of the gain's uncertainty the seen part has removed.
    """

    paths: Float[np.ndarray, "paths later"]
    weight: Float[np.ndarray, " laws"]
    rolling_error: Float[np.ndarray, " laws"]
    gain_known: float


def mixed_forecast(
    rows: Rows,
    loss: Float[np.ndarray, " seen"],
    masks: Bool[np.ndarray, "starts origins seen"],
    log_laws: Float[np.ndarray, " laws"],
    prior: ForecastPrior,
    shared: np.random.Generator,
    own: np.random.Generator,
    paths: int,
) -> MixedForecast:
    """Posterior of every law, start and origin; weights from the origins; paths from all rows.

    Args:
        rows: clocks and responses of all laws, at the seen rows and then at those of the forecast.
        loss: losses of the seen rows, nat.
        masks: the rows known at each origin, of which the last knows the whole seen part.
        log_laws: logarithms of the laws' weights before any data.
        prior: what is likely before the run was seen.
        shared: draws what runs of one family share, and the choice of laws.
        own: draws what is this run's own.
        paths: how many paths to draw.
    """
    seen = len(loss)
    laws = [rows.of_law(law) for law in range(len(log_laws))]
    shape = len(laws), len(masks)
    score, square, whole = np.zeros(shape), np.zeros(shape), {}
    for place in np.ndindex(shape):
        law, start = laws[place[0]].at(slice(seen)), masks[place[1]]
        judged = [_judged(posterior(law, loss, known, prior), law, loss, known) for known in start[:-1]]
        score[place], square[place] = np.sum(judged, axis=0)[0], np.mean(judged, axis=0)[1]
        whole[place] = posterior(law, loss, start[-1], prior)
    weight = softmax(score + log_laws[:, None])
    by_law = weight.sum(axis=1)
    candidate, gain = picked(weight.ravel(), shared.random(paths)), shared.standard_normal(paths)
    drawn = np.empty((paths, rows.log_clock.shape[1] - seen))
    for number in np.unique(candidate):
        place, these = np.unravel_index(number, shape), candidate == number
        drawn[these] = draw(whole[place], laws[place[0]].at(slice(seen, None)), gain[these], own)
    error = np.sqrt(np.sum(softmax(score, axis=1) * square, axis=1))  # of a law whose own weight may vanish
    return MixedForecast(drawn, by_law, error, 1 - _gain_std(whole, weight) / prior.gain_std)


def _judged(found: Posterior, rows: Rows, loss, known) -> tuple[float, float]:
    """Mean log density of what was not known at an origin, and mean square of the errors.

    Judged at three places: the last seen row, and those between it and the origin at thirds of the way. Errors along
    one path are close to one error, so that each origin counts as one observation.
    """
    last, origin = len(loss) - 1, int(np.flatnonzero(known)[-1])
    places = np.array([origin + (last - origin) // 3, origin + 2 * (last - origin) // 3, last])
    mean, variance = moments(found, rows.at(places))
    error, std = loss[places] - mean, np.sqrt(variance) + 1e-4
    return float(np.mean(-0.5 * np.square(error / std) - np.log(std))), float(np.mean(np.square(error)))


def _gain_std(whole: dict[tuple[int, ...], Posterior], weight: np.ndarray) -> float:
    """Standard deviation of the gain over all laws and starts."""
    moment = np.zeros(2)
    for place, found in whole.items():
        mean, own = found.mean[..., 3], np.square(found.factor[..., 3, 3])
        moment += weight[place] * np.array([np.sum(found.weight * part) for part in (mean, mean**2 + own)])
    return float(np.sqrt(max(moment[1] - moment[0] ** 2, 0.0)))
