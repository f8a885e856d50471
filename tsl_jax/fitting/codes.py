"""The codes of a fit: how it ended, and where its event lies."""

import jax

from ..arguments import is_traced
from ..codes import Code
from .few_sizes import each


class Status(Code):
    """How a curve's fit ended. The numbers are stored in files and never change.

    Curves with `CONVERGED`, `MAX_STEPS` or `AT_BOUND` have parameters; all others have NaN parameters.

    Attributes:
        CONVERGED: the next step would change the rss by less than the tolerance.
        MAX_STEPS: the step limit came first; the best point found is kept.
        AT_BOUND: converged, with a parameter that the data do not limit on its bound.
        TOO_FEW_POINTS: fewer measured points than parameters + 1 (in `tsl_jax.least_squares`: than parameters).
        NON_FINITE: infinities, negative weights, or a result too large for the floating-point type.
        FLAT: all measured losses are equal.
        UNREADABLE: in a fit store: the losses could not be read.
        PENDING: in a fit store: not fitted yet.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> fit = tsl.fit(tsl.Sigmoid(), jnp.arange(1.0, 41.0), jnp.full((2, 40), 3.0, "float32"))
        >>> tsl.Status(int(fit.status[0])).name
        'FLAT'
        >>> tsl.Status.FLAT.cause_and_cure
        'All measured losses are equal: no curve to fit; the constant is kept.'
    """

    CONVERGED = 0, "The fit converged. A parameter without a standard error (NaN) is not determined by the losses."
    MAX_STEPS = 1, "The step limit came first; the best point found is kept. Raise FitOptions.max_steps."
    AT_BOUND = (
        2,
        "Converged with a parameter on its bound, where the data do not limit it; that parameter has no "
        "standard error. Measure further or more densely, or move the bound.",
    )
    TOO_FEW_POINTS = 3, "Fewer measured points than parameters + 1. Measure more checkpoints."
    NON_FINITE = (
        4,
        "The losses or weights hold infinities or negative weights, or a parameter or the rss is too large "
        "for the floating-point type. Mark missing values as NaN; use another unit or float64.",
    )
    FLAT = 5, "All measured losses are equal: no curve to fit; the constant is kept."
    UNREADABLE = 6, "The chunk with this token could not be read. Repair the loss store and run again."
    PENDING = 255, "Not fitted yet. Run the same command again to go on."

    @property
    def cause_and_cure(self) -> str:
        """One sentence: why a curve has this status and what to do about it."""
        return self.meaning


class Category(Code):
    """Where a token's event lies. The numbers are stored in files and never change.

    Attributes:
        UNLEARNED: no event that the test against a constant supports; see `FitOptions.event_test`.
        LEARNED: an event between the first and the last checkpoint.
        EARLY: an event before the first checkpoint.
        LATE: an event after the last checkpoint.
        NONE: no fit, or a family without events.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.array([[30.0], [3000.0]])) ** 2)
        >>> [tsl.Category(int(code)).name for code in tsl.fit(tsl.Sigmoid(), step, losses).category]
        ['LEARNED', 'LATE']
    """

    UNLEARNED = 0, "No event that the test against a constant supports."
    LEARNED = 1, "An event between the first and the last checkpoint."
    EARLY = 2, "An event before the first checkpoint."
    LATE = 3, "An event after the last checkpoint."
    NONE = 255, "No fit, or a family without events."


#: Names of the probabilities of a token's categories, in the order in which they are computed.
EVENT_CATEGORIES = tuple(category.name.lower() for category in Category if category != Category.NONE)


def has_parameters(status):
    """Whether a curve of this status has parameters; elementwise, NumPy or JAX."""
    return (status == Status.CONVERGED) | (status == Status.MAX_STEPS) | (status == Status.AT_BOUND)


def curve_counts(status, category):
    """Whether a token's fitted curve counts (True) or its constant (False); elementwise, NumPy or JAX.

    The one rule for the mean of the fits and all that follows: the curve counts where it has parameters and is not
    `Category.UNLEARNED`; elsewhere the constant does.

    Args:
        status: codes of `Status`, an array of any shape or one code.
        category: codes of `Category`, likewise.

    Returns:
        Booleans of that shape.

    Example:
        >>> import numpy as np
        >>> status = np.array([Status.CONVERGED, Status.CONVERGED, Status.FLAT])
        >>> category = np.array([Category.LEARNED, Category.UNLEARNED, Category.NONE])
        >>> curve_counts(status, category).tolist()
        [True, False, False]
    """
    known = isinstance(status, jax.Array) and not is_traced(status)
    return each(counts, status, category) if known else counts(status, category)


def counts(status, category):
    return has_parameters(status) & (category != Category.UNLEARNED)
