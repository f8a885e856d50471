"""Quantiles and tails of the distributions that tests need, for traced degrees of freedom."""

import numpy as np
from jax.scipy.special import betainc, ndtri
from jax.typing import ArrayLike
from jaxtyping import Array, Float


def student_quantile(level: ArrayLike, degrees: Float[Array, "..."]) -> Float[Array, "..."]:
    """Half width of the central interval of Student's t that holds ``level``, within 1% from 4 degrees on.

    Cornish-Fisher expansion, Abramowitz and Stegun 26.7.5.
    """
    z = ndtri((1 + level) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, start=1))


def f_tail(statistic: Float[Array, "..."], above: ArrayLike, below: ArrayLike) -> Float[Array, "..."]:
    """Probability that F with ``(above, below)`` degrees of freedom exceeds ``statistic``."""
    # Of the two arguments that add to 1, the smaller keeps the digits of a small probability.
    if isinstance(statistic, np.ndarray | np.generic):
        from scipy.special import betainc as tail
    else:
        tail = betainc
    return tail(below / 2.0, above / 2.0, below / (below + above * statistic))
