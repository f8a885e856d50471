"""What losses over positions say: the law, its evolution, where it settles, and how evenly the loss falls."""

import dataclasses
from typing import Any

import jax
import numpy as np

from ..temporal import (
    Evenness,
    Evolution,
    PositionLaw,
    Separation,
    evenness,
    evolution,
    position_law,
    resample_position_law,
    separation,
)
from ..temporal.clock.training_axis import checked_axis
from .positions import PositionLosses

#: Fewest checkpoints, which the separation point needs.
_FEWEST = 8


@dataclasses.dataclass(frozen=True)
class PositionAnalysis:
    """The laws of one store.

    Attributes:
        means: what they were fitted to.
        law: a hyperbola at every checkpoint.
        stderr: (checkpoints,) standard errors of its parameters over the bootstrap, by name.
        courses: how each of its parameters evolves, by name.
        separation: from where on amplitude and rate are constant.
        evenness: whether the loss falls alike at all positions.
        since: from where on that was tested, axis units.
    """

    means: PositionLosses
    law: PositionLaw
    stderr: dict[str, np.ndarray]
    courses: dict[str, Evolution]
    separation: Separation
    evenness: Evenness
    since: float


def analyse_positions(
    means: PositionLosses, *, since: float | None = None, replicates: int = 200, seed: int = 0
) -> PositionAnalysis:
    """Fit the position law at every checkpoint and follow its parameters over training.

    Args:
        means: of `tsl_jax.jobs.position_losses`.
        since: test from here on whether the loss falls evenly; by default from the separation point on, or from a third
            of training where that is not reached.
        replicates: of the bootstrap over sequences.
        seed: of the bootstrap.

    Raises:
        ValueError: too few checkpoints or positions.
    """
    axis: Any = means.axis
    position: Any = means.position
    mean: Any = means.mean
    stderr: Any = means.stderr
    group_mean: Any = means.group_mean
    group_count: Any = means.group_count
    checked_axis(axis, _FEWEST)
    law = position_law(position, mean, stderr)
    courses = evolution(axis, law.params, law.stderr)
    again = resample_position_law(
        position, group_mean, group_count, stderr, jax.random.key(seed), replicates=replicates
    )
    point = separation(axis, law, again)
    if since is None:
        since = float(point.point) if bool(point.reached) else float(axis[-1]) / 3
    even = evenness(axis, position, group_mean, group_count, start=since)
    errors = {name: np.asarray(again.params[name]).std(axis=0) for name in law.params}
    return PositionAnalysis(means, law, errors, courses, point, even, since)
