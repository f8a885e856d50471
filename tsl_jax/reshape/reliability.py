"""How reliable scores of sequences are: from halves of their tokens, and from runs; and what is left of noisy ones."""

import itertools
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

#: Half the width of a 95% interval, in standard errors of a normal distribution.
_WIDTH = 1.959964


class Reliability(NamedTuple):
    """Share of the variance of scores that is no noise, with its 95% interval; NaN where it cannot be known."""

    value: float
    low: float
    high: float


def spearman_brown(correlation: float, times: float = 2.0) -> float:
    """Reliability of a measure ``times`` as long as the one of reliability r: ``times·r/(1 + (times - 1)·r)``.

    Example:
        >>> round(spearman_brown(0.5), 3), round(spearman_brown(0.5, 0.5), 3)
        (0.667, 0.333)

    Source: C. Spearman, W. Brown, British Journal of Psychology 3, 1910.
    """
    return times * correlation / (1 + (times - 1) * correlation)


def reliability_of(measures: ArrayLike) -> Reliability:
    """Reliability of the mean of several measures of the same sequences, such as halves of their tokens, or runs.

    The mean correlation of all pairs, stepped up by `spearman_brown`; its interval is Fisher's for one pair.

    Args:
        measures: (measures, sequences) scores; a sequence with one that is not finite is left out.

    Returns:
        `Reliability`; NaN for fewer than two measures or four sequences, and where a measure does not vary.

    Example:
        >>> found = reliability_of([[0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.3, 0.2, 0.4, 0.5]])
        >>> round(found.value, 3), found.low < found.value < found.high
        (0.947, True)

    Source: R. A. Fisher, Statistical Methods for Research Workers, 1925, for the interval.
    """
    measures = np.asarray(measures, np.float64)
    measures = measures[:, np.isfinite(measures).all(axis=0)]
    times, sequences = measures.shape
    if times < 2 or sequences < 4 or np.any(np.ptp(measures, axis=1) == 0):
        return Reliability(np.nan, np.nan, np.nan)
    table = np.corrcoef(measures)
    mean = float(np.mean([table[pair] for pair in itertools.combinations(range(times), 2)]))
    near = np.arctanh(np.clip(mean, -1 + 1e-12, 1 - 1e-12))
    ends = np.tanh(near + np.array([-1, 1]) * _WIDTH / np.sqrt(sequences - 3))
    # Below this mean correlation no reliability is defined; it counts as -1.
    least = -1 / (times - 1) * 0.999
    return Reliability(*(max(spearman_brown(max(float(r), least), times), -1.0) for r in (mean, *ends)))


def within(measures: ArrayLike, domain: ArrayLike | None) -> Float[np.ndarray, "*measures sequences"]:
    """Measures (\\*measures, sequences) less the mean of each domain: what tells sequences of one domain apart.

    Args:
        measures: scores.
        domain: (sequences,) codes; None: all are of one, and nothing is taken away.
    """
    measures = np.asarray(measures, np.float64)
    if domain is None:
        return measures
    codes, place = np.unique(np.asarray(domain), return_inverse=True)
    unit = place == np.arange(len(codes))[:, None]
    return measures - ((measures @ unit.T) / unit.sum(axis=1))[..., place]


def shrunken(
    score: ArrayLike, tokens: ArrayLike, reliability: float, *, domain: ArrayLike | None = None
) -> Float[np.ndarray, " sequences"]:
    """Scores drawn towards their mean by as much as they are noise, which is more for a sequence of few tokens.

    ``mean + r_i·(score - mean)``, r_i the reliability that `spearman_brown` gives a sequence with
    ``tokens_i / mean tokens`` times the usual number of tokens.

    Args:
        score: (sequences,) scores.
        tokens: (sequences,) how many tokens each comes from.
        reliability: of the scores of sequences of usual length; below 0 counts as 0.
        domain: (sequences,) codes: scores are drawn towards the mean of their domain.

    Returns:
        (sequences,) scores.

    Raises:
        ValueError: a reliability that is not known.

    Example:
        >>> shrunken([0.0, 1.0], [1, 3], 0.5).round(3).tolist()
        [0.5, 0.9]

    Source: T. L. Kelley, Interpretation of Educational Measurements, 1927.
    """
    if not np.isfinite(reliability):
        raise ValueError("reliability: it is not known, so nothing says how much of the scores is noise")
    score, tokens = np.asarray(score, np.float64), np.asarray(tokens, np.float64)
    _, place = np.unique(np.zeros(len(score), int) if domain is None else np.asarray(domain), return_inverse=True)
    weighted, weight = np.bincount(place, score * tokens), np.bincount(place, tokens)
    middle = (weighted / np.maximum(weight, 1))[place]
    return middle + spearman_brown(np.clip(reliability, 0, 1), tokens / tokens.mean()) * (score - middle)
