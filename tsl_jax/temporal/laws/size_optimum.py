"""What to train for a budget, as a law over sizes says."""

import numpy as np
from jaxtyping import Float

from ...pytrees import pytree


@pytree
class ComputeOptimum:
    """The model and the tokens of the lowest loss for a budget, with intervals; arrays (budgets,).

    Attributes:
        flops: the budget, ``6·N·D``.
        size: parameters N.
        tokens: training tokens D.
        loss: predicted loss, nat.
        size_interval: (2, budgets) ends of the interval of N; NaN without a bootstrap.
        tokens_interval: (2, budgets) ends of the interval of D.
        loss_interval: (2, budgets) ends of the interval of the loss.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> from tsl_jax.temporal import fit_size_law
        >>> size, tokens = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e11, 5)))
        >>> fit = fit_size_law(tsl.ChinchillaLaw(), size, tokens, 1.8 + 480 * size**-0.35 + 2000 * tokens**-0.36)
        >>> best = fit.optimum(5.76e23)
        >>> bool(np.isclose(6 * best.size * best.tokens, 5.76e23)[0])
        True
    """

    flops: Float[np.ndarray, " budgets"]
    size: Float[np.ndarray, " budgets"]
    tokens: Float[np.ndarray, " budgets"]
    loss: Float[np.ndarray, " budgets"]
    size_interval: Float[np.ndarray, "2 budgets"]
    tokens_interval: Float[np.ndarray, "2 budgets"]
    loss_interval: Float[np.ndarray, "2 budgets"]
