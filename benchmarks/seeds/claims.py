"""How many of the events that one run claims are found in another."""

import itertools
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from tsl_jax import with_run_components
from tsl_jax.reshape import another_run_probability
from tsl_jax.runs import RunComponents

from .statistics import Run, fraction, kinds

#: Claims are checked by their probability, between these.
CLAIMED = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)


def claims(
    one: Run, other: Run, window: tuple[float, float], components: RunComponents | None = None
) -> dict[str, dict[str, Any]]:
    """Of tokens that `tsl score` says are learned within a window, the `fraction` for which another run says so, too.

    In the other run the token has to be LEARNED, by a loss that falls, at a learning time within the window.

    Args:
        one: the run that claims.
        other: the run that judges.
        window: axis units.
        components: how runs differ; by default as those of small transformers do.

    Returns:
        By how likely the first run says they are (`CLAIMED`, the upper end included in the last): that and ``claimed``,
        the mean probability.
    """
    params: dict[str, ArrayLike] = {**one.params}
    stderr = one.stderr if components is None else with_run_components(one.params, one.stderr, components)
    likely = another_run_probability(
        params, {**stderr}, one.r2, one.status, one.unlearned, window, one.density, between_runs=components is not None
    )
    probability, time = np.asarray(likely), other.params["learning_time"]
    came = kinds(other)["LEARNED, falls"] & (window[0] < time) & (time <= window[1])
    found = {}
    for low, high in itertools.pairwise(CLAIMED):
        chosen = (probability >= low) & ((probability < high) | (high == CLAIMED[-1]))
        claimed = float(np.mean(probability[chosen])) if chosen.any() else None
        found[claim_name(low, high)] = fraction(came[chosen], one.sequence[chosen]) | {"claimed": claimed}
    return found


def claim_name(low: float, high: float) -> str:
    """What claims between two probabilities are called in results."""
    return f"{low:.0%} to {high:.0%}"
