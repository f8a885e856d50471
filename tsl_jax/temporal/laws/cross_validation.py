"""Leave-one-run-out predictions: how regularisation and laws are chosen without looking at what is forecast."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...jax_switches import with_own_switches
from ..clock.schedule_rows import History
from .interface import ScheduleLaw
from .law_fit import LawFitOptions, check_losses, fit_law


@with_own_switches
def leave_one_run_out(
    law: ScheduleLaw,
    history: History,
    loss: Float[Array | np.ndarray, " rows"],
    run: Int[np.ndarray, " rows"],
    *,
    shrinkage: Float[Array | np.ndarray, "candidates p"] | None = None,
    options: LawFitOptions = LawFitOptions(),
) -> Float[Array, "candidates rows"]:
    """Every run's losses as predicted from the other runs alone.

    Args:
        law: what is fitted.
        history: rows of all runs, as `join_histories` puts them together.
        loss: (rows,) mean losses, nat.
        run: (rows,) which run a row belongs to, 0, 1, ..., at least two; known before compilation.
        shrinkage: (candidates, p) strengths to try, see `ScheduleLaw.shrinkage`; ``None``: one candidate, none.
        options: of the fits.

    Returns:
        (candidates, rows) predicted losses, nat. `held_out_error` makes a score of them.

    Raises:
        ValueError: fewer than two runs, runs that are not numbered 0, 1, ..., or losses that `fit_law` refuses.

    Example:
        >>> from tsl_jax.temporal import TimePowerLaw, history, join_histories, schedule_from_rates
        >>> seen = history(schedule_from_rates(np.full(400, 1e-3)), np.arange(50, 401, 50))
        >>> law = TimePowerLaw()
        >>> loss = law.predict(dict(floor=2.0, coefficient=1.0, exponent=0.4), seen)
        >>> twice, run = join_histories([seen, seen]), np.repeat([0, 1], 8)
        >>> predicted = leave_one_run_out(law, twice, np.tile(loss, 2), run)
        >>> bool(np.allclose(predicted, np.tile(loss, 2), atol=1e-3))
        True
    """
    run = np.asarray(run)
    numbers = np.unique(run)
    if run.shape != (history.num_rows,) or len(numbers) < 2 or not np.array_equal(numbers, np.arange(len(numbers))):
        raise ValueError(
            f"run: got shape {run.shape} with runs {numbers[:8].tolist()}, expected ({history.num_rows},) with runs "
            "numbered 0, 1, ... and at least two of them"
        )
    for number in numbers:
        check_losses(law, history, loss, run != number)
    strengths = [None] if shrinkage is None else list(np.asarray(shrinkage))
    return jnp.stack([_left_out(law, history, loss, run, strength, options) for strength in strengths])


def _left_out(law: ScheduleLaw, history: History, loss, run, strength, options) -> Float[Array, " rows"]:
    every = []
    for number in range(int(run.max()) + 1):
        weights = (run != number).astype(np.float32)
        every.append(fit_law(law, history, loss, weights=weights, shrinkage=strength, options=options).predict(history))
    return jnp.stack(every)[run, np.arange(len(run))]


def held_out_error(
    predicted: Float[Array | np.ndarray, "*candidates rows"],
    loss: Float[Array | np.ndarray, " rows"],
    run: Int[np.ndarray, " rows"],
) -> Float[np.ndarray, "*candidates runs"]:
    """Mean absolute error (nat) of each run's predictions.

    Args:
        predicted: (\\*candidates, rows) from `leave_one_run_out`.
        loss: (rows,) measured losses, nat.
        run: (rows,) which run a row belongs to.

    Returns:
        (\\*candidates, runs).

    Raises:
        ValueError: shapes disagree.

    Example:
        >>> predicted, loss = np.array([[2.0, 2.0, 3.0]]), np.array([2.0, 2.1, 3.0])
        >>> held_out_error(predicted, loss, np.array([0, 0, 1])).round(3).tolist()
        [[0.05, 0.0]]
    """
    if np.shape(predicted)[-1:] != np.shape(loss) or np.shape(run) != np.shape(loss):
        raise ValueError(
            f"predicted, loss, run: got shapes {np.shape(predicted)}, {np.shape(loss)}, {np.shape(run)}, expected "
            "(*candidates, rows), (rows,) and (rows,)"
        )
    member = (np.asarray(run) == np.arange(np.max(run) + 1)[:, None]).astype(np.float64)
    return np.abs(np.asarray(predicted) - np.asarray(loss)) @ (member / member.sum(axis=1, keepdims=True)).T
