"""How likely each token is learned in the next window of training, of which nothing is measured yet."""

import numpy as np
from jaxtyping import Float

from ..curves import Sigmoid
from ..fitting import Fit
from .scores import event_probability

#: A standard error of ln(learning time) beyond this says nothing; its square has to stay a number.
_WIDEST = 1e3


def next_window_probability(
    fit: Fit, now: float, end: float, *, exponent: float = 1.0, by_test: bool = True
) -> Float[np.ndarray, " tokens"]:
    """Probability that a token is learned after ``now``, the last checkpoint, and until ``end``.

    ``P(late)·(1 - Q((ln end - m)/s) / Q((ln now - m)/s))``, ``m = ln a - (exponent - 1)·s²``, with a the learning time
    of the fit, s the standard error of its logarithm, and Q the upper tail of the normal distribution. P(late) is the
    probability of an event after ``now`` (`event_probability`). The rest is the share of it until ``end``: what the
    curve says, ``N(ln a, s²)``, times the power law of the spectrum's tail, ``p(a) ∝ a^-exponent``, which in ln(a) is
    ``e^(-(exponent - 1)·ln a)`` and moves the normal distribution to m. So a token that is half learned goes by its own
    interval; for one whose curve says that it is late but not how late, it is the tail's share,
    ``1 - (end/now)^(1 - exponent)``.

    Args:
        fit: of ``Sigmoid(scale="log")``, (tokens,).
        now: the last checkpoint, axis units.
        end: of the window, axis units.
        exponent: of the tail (`tsl_jax.spectrum.fit_tail`); 1 or less, or NaN, for none: no such law has a share
            that ends, and tokens go by their own intervals alone.
        by_test: an event counts by the probability that a test gives it; otherwise every event counts, however weak.

    Returns:
        (tokens,) probabilities, 0 where there is no fit and where losses rise.

    Raises:
        TypeError: fits of another family or scale.
        ValueError: a window that starts at 0 or is empty.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> step = np.geomspace(1.0, 100.0, 24)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / np.array([[10.0], [120.0], [500.0]])) ** 4)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, losses)
        >>> next_window_probability(fit, 100, 200, exponent=2.0).round(2).tolist()
        [0.0, 1.0, 0.0]

    Source: the tail of arXiv 2606.29858; of the tilted normal distribution, by completing the square.
    """
    if fit.family != Sigmoid(scale="log"):
        raise TypeError(f"fit: got {fit.family}, expected fits of Sigmoid(scale='log')")
    if not 0 < now < end:
        raise ValueError(f"window: got {now:g} to {end:g}, expected a start above 0 and below the end")
    unlearned = np.asarray(fit.probabilities["unlearned"])
    if not by_test:
        unlearned = np.zeros_like(unlearned)
    late = event_probability(
        fit.params, fit.stderr, fit.status, unlearned, (now, np.inf), freedom=fit.degrees_of_freedom
    )
    return np.asarray(late, np.float64) * _share_until(fit, now, end, exponent)


def _share_until(fit: Fit, now: float, end: float, exponent: float) -> Float[np.ndarray, " tokens"]:
    """Share of what comes after ``now`` that comes until ``end``."""
    from scipy.special import log_ndtr

    time = np.asarray(fit.params["learning_time"], np.float64)
    error = np.asarray(fit.stderr["learning_time"], np.float64)
    fall = max(exponent - 1, 0.0) if np.isfinite(exponent) else 0.0
    reach = np.log(end / now)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        place, spread = np.log(time / now), error / time
    known = np.isfinite(place) & (spread > 0)
    place, spread = np.where(known, place, 0), np.where(known, np.minimum(spread, _WIDEST), 1)
    middle = place - fall * spread**2
    of_curve = -np.expm1(log_ndtr((middle - reach) / spread) - log_ndtr(middle / spread))
    of_tail = -np.expm1(-fall * reach) if fall else (time <= end)
    return np.where(known, of_curve, of_tail)
