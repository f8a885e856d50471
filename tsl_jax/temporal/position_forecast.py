"""Forecast of the loss at every position of the context."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .evolution import Evolution, evolution
from .forecast import LEVELS, Forecast, forecast
from .position_bins import checked_position
from .position_law import PositionLaw, position_law


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PositionForecast:
    """Loss per position at later steps.

    Attributes:
        position: positions, from 1.
        loss: expected loss, nat: the forecast of the mean plus the position's deviation from it.
        lower: lower ends of the bands of 50 and 90%, nat.
        upper: upper ends.
        two_stage: the mean over positions by the procedure of arXiv 2404.17785 alone, nat: all three parameters of
            the position law extrapolated over the steps.
        total: the forecast of the mean loss over all positions.
        law: position laws of the seen checkpoints.
        courses: by name of the position law's parameter, its `Evolution` over the seen part.
    """

    position: Float[np.ndarray, " positions"]
    loss: Float[np.ndarray, "rows positions"]
    lower: Float[np.ndarray, "levels rows positions"]
    upper: Float[np.ndarray, "levels rows positions"]
    two_stage: Float[np.ndarray, " rows"]
    total: Forecast
    law: PositionLaw
    courses: dict[str, Evolution]


def forecast_positions(
    step: Float[np.ndarray, " checkpoints"],
    position: Float[np.ndarray, " positions"],
    mean: Float[np.ndarray, "checkpoints positions"],
    stderr: Float[np.ndarray, "checkpoints positions"] | None,
    at: Float[np.ndarray, " later"],
    **options: Any,
) -> PositionForecast:
    """Forecasts the loss at every position: the mean's forecast, shared out by the position law.

        ``loss(i) = mean + amplitude·(h(i) - mean of h),  h(i) = 1/(1 + rate·i)``

    First the hyperbola of every seen checkpoint; then the course of its amplitude and rate over the steps, each by the
    form that predicts best from rolling origins; then the forecast of the mean over positions, in place of the
    floor's course, which knows no schedule. The bands hold the mean's uncertainty and, of each position, the scatter
    of the last seen checkpoints around the position law.

    Args:
        step: (checkpoints,) steps of the seen checkpoints, increasing.
        position: (positions,) from 1, increasing.
        mean: (checkpoints, positions) mean losses, nat; NaN where none was measured.
        stderr: (checkpoints, positions) their standard errors; ``None``: all alike.
        at: (later,) steps to forecast.
        **options: of `forecast`: learning_rate, prior, laws, key, paths.

    Returns:
        `PositionForecast`.

    Raises:
        ValueError: what `position_law`, `evolution` (at least 6 checkpoints) and `forecast` refuse.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import forecast_positions
        >>> step, position = np.linspace(100.0, 2000.0, 20), np.arange(1.0, 33.0)
        >>> loss = 3 / (1 + 0.5 * position) + 3 + 20 * step[:, None] ** -0.5
        >>> found = forecast_positions(step, position, loss, None, np.array([4000.0]), paths=100)
        >>> abs(round(float(found.loss[0, 0] - found.loss[0, -1]) - (2 - 3 / 17), 2))
        0.0

    Source: arXiv 2404.17785.
    """
    step, values = np.asarray(step, np.float64), np.asarray(mean, np.float64)
    places: Any = checked_position(position)
    if values.ndim != 2 or values.shape != (len(step), len(places)):
        raise ValueError(f"mean: got shape {values.shape}, expected (checkpoints, positions), {len(step), len(places)}")
    kept = step > 0
    known_step: Any = step[kept]
    values = values[kept]
    errors = None if stderr is None else jnp.asarray(np.asarray(stderr)[kept], jnp.float32)
    law = position_law(places, jnp.asarray(values, jnp.float32), errors)
    courses = evolution(known_step, law.params, law.stderr)
    total = forecast(known_step, np.nanmean(values, axis=1), at, **options)
    later = jnp.asarray(total.step, jnp.float32)
    course = {name: np.asarray(found.predict(later)) for name, found in courses.items()}
    shape = 1 / (1 + np.maximum(course["rate"], 0)[:, None] * places)
    above = course["amplitude"][:, None] * (shape - shape.mean(axis=1, keepdims=True))
    # What the last checkpoints say of each position beyond the hyperbola stays: it comes from the same tokens.
    fitted = np.asarray(law.predict(jnp.asarray(places, jnp.float32)))
    off = (values - fitted)[-max(3, len(known_step) // 4) :]
    off = off - np.nanmean(off, axis=1, keepdims=True)
    beyond, scatter = np.nanmean(off, axis=0), np.nanstd(off, axis=0)
    mean_path = np.asarray(total.mean)
    loss = mean_path[:, None] + above + beyond
    width = [np.asarray(side) - mean_path for side in (total.lower, total.upper)]
    normal = np.asarray([0.6745, 1.6449])[: len(LEVELS), None, None] * scatter
    lower, upper = (
        loss + sign * np.sqrt(np.square(side)[:, :, None] + np.square(normal))
        for sign, side in zip((-1, 1), width, strict=True)
    )
    two_stage = course["floor"] + course["amplitude"] * shape.mean(axis=1)
    return PositionForecast(places, loss, lower, upper, two_stage, total, law, courses)
