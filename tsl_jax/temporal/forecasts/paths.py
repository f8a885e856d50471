"""What the posterior of a law says of later rows: its moments, and courses of the loss drawn from it."""

import numpy as np
from jaxtyping import Float, Int

from .law_posterior import COLUMNS, DRIFTS, EXPONENTS, NOISES, Posterior, Rows, columns


def moments(found: Posterior, rows: Rows) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Mean and variance of the loss at rows after the last known one, over the whole grid."""
    x = np.maximum(rows.log_clock - found.origin, 0)
    table = columns(EXPONENTS[:, None, None], rows.response - found.at_origin[:, None], x, found.first)
    law = found.anchor + np.einsum("ekrc,dqeknc->dqeknr", table, found.mean)
    own = np.square(table[:, :, None] @ found.factor).sum(axis=-1)
    noise = np.square(NOISES)[:, None] * (1 + np.square(DRIFTS)[:, None, None, None, None, None] * x**3 / 3)
    mean = np.einsum("dqekn,dqeknr->r", found.weight, law)
    return mean, np.einsum("dqekn,dqeknr->r", found.weight, np.square(law - mean) + own + noise)


def draw(
    found: Posterior, rows: Rows, gain: Float[np.ndarray, " draws"], own: np.random.Generator
) -> Float[np.ndarray, "draws rows"]:
    """Losses at rows after the last known one, drawn.

    Args:
        found: the posterior of a law.
        rows: where.
        gain: standard normal numbers for the gain. Draws of two runs with the same ones differ by what is each run's
            own, and not by what a fall of the learning rate brings to both.
        own: draws everything else.
    """
    draws = len(gain)
    place = np.unravel_index(picked(found.weight.ravel(), own.random(draws)), found.weight.shape)
    x = np.maximum(rows.log_clock - found.origin, 0)
    # The factor is upper triangular: the last coefficient, the gain, depends on the last number alone.
    normal = np.concatenate([own.standard_normal((draws, COLUMNS - 1)), gain[:, None]], axis=1)
    coefficients = found.mean[place] + (found.factor[place] @ normal[:, :, None])[:, :, 0]
    noise = NOISES[place[4]][:, None]
    change = (rows.response - found.at_origin[:, None])[place[3]]
    table = columns(EXPONENTS[place[2]][:, None], change, x, found.first)
    wander = DRIFTS[place[0]][:, None] * wandering(x, own.standard_normal((draws, 2, len(x))))
    white = own.standard_normal((draws, len(x)))
    return found.anchor + (table @ coefficients[:, :, None])[:, :, 0] + noise * (wander + white)


def picked(weight: Float[np.ndarray, " places"], uniform: Float[np.ndarray, " draws"]) -> Int[np.ndarray, " draws"]:
    """Places drawn with these weights, from numbers between 0 and 1."""
    total = np.cumsum(weight)
    return np.minimum(np.searchsorted(total, uniform * total[-1], side="right"), len(weight) - 1)


def wandering(
    x: Float[np.ndarray, " rows"], normal: Float[np.ndarray, "draws 2 rows"]
) -> Float[np.ndarray, "draws rows"]:
    """Paths of integrated Brownian motion from 0 at increasing x, from standard normal numbers."""
    gap = np.diff(x, prepend=0)
    speed = np.sqrt(gap) * normal[:, 0]
    before = np.cumsum(speed, axis=1) - speed
    moved = before * gap + gap * speed / 2 + np.sqrt(gap**3 / 12) * normal[:, 1]
    return np.cumsum(moved, axis=1)
