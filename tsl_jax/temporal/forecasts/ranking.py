"""Which of several young runs will end lowest."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ...arguments import known_array, real_number, whole_number
from ...jax_switches import with_own_switches
from ...pytrees import pytree, static
from ..checks import random_key
from .mean_loss import DEFAULT_PRIOR, LEVELS, Forecast, ForecastPrior, forecast

#: Fractions of the seen part at which the choice is made again.
FRACTIONS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@pytree
class Ranking:
    """Forecasts of several runs at one step, compared.

    Attributes:
        order: runs from the lowest expected loss to the highest, indices into the runs as they were given.
        mean: (runs,) expected loss at the step, nat.
        lower: (levels, runs) lower ends of the bands of 50 and 90%, nat.
        upper: (levels, runs) upper ends.
        probability: (runs,) that this run ends lowest; they add up to 1.
        better: (runs, runs) probability that the run of the row ends below the run of the column.
        gap: (runs,) expected loss above that of the first in the order, nat.
        gap_stderr: (runs,) its standard deviation.
        fractions: (fractions,) of the seen part at which the choice was made again.
        choice: (fractions,) which run it was; -1 where a run had too few rows for a forecast.
        settled: fraction of all training, up to the step, after which the choice stopped changing; NaN if it changed
            at the last one.
        step: the step of the comparison.
        warnings: of each run, in which ways its forecast lies outside what the data support (static).
    """

    order: np.ndarray
    mean: Float[np.ndarray, " runs"]
    lower: Float[np.ndarray, "levels runs"]
    upper: Float[np.ndarray, "levels runs"]
    probability: Float[np.ndarray, " runs"]
    better: Float[np.ndarray, "runs runs"]
    gap: Float[np.ndarray, " runs"]
    gap_stderr: Float[np.ndarray, " runs"]
    fractions: Float[np.ndarray, " fractions"]
    choice: np.ndarray
    settled: np.ndarray
    step: np.ndarray
    warnings: tuple[tuple[str, ...], ...] = static()


@with_own_switches
def rank(
    runs: Sequence[Mapping[str, Any]],
    at: float,
    *,
    prior: ForecastPrior = DEFAULT_PRIOR,
    fractions: Sequence[float] = FRACTIONS,
    key: Array | None = None,
    paths: int = 1000,
) -> Ranking:
    """Compares forecasts of several young runs at one later step.

        ``probability[r] = P(loss of r at the step is the lowest)``, over paths drawn from all forecasts

    What a fall of the learning rate brings is drawn alike for all runs, as they are of one family; everything else
    is drawn for each by itself.

    Args:
        runs: of each run a mapping with ``step`` and ``loss`` of what was seen and, where it is known,
            ``learning_rate``, the rates of all updates up to the step; see `forecast`.
        at: the step at which they are compared, after all seen ones.
        prior: see `ForecastPrior`.
        fractions: of the seen part of each run, at which the choice is made again; the last is 1.
        key: random key; by default always the same.
        paths: how many paths to draw of each.

    Returns:
        `Ranking`.

    Raises:
        TypeError: an argument is of another type, such as a run that is no mapping.
        ValueError: fewer than 2 runs, fractions that do not increase to 1, or what `forecast` refuses, with the
            number of the run.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import rank
        >>> step = np.arange(100.0, 2100.0, 50.0)
        >>> runs = [{"step": step, "loss": floor + 20 * step**-0.5} for floor in (3.2, 3.0)]
        >>> found = rank(runs, 4000.0, fractions=[1.0])
        >>> found.order.tolist(), round(float(found.probability[1]), 2)
        ([1, 0], 1.0)
    """
    _check_runs(runs)
    at, paths = real_number("at", at, "a later step"), whole_number("paths", paths)
    parts = known_array("fractions", fractions)
    if parts.ndim != 1 or not parts.size or np.any(np.diff(parts) <= 0) or parts[0] <= 0 or parts[-1] != 1:
        raise ValueError(f"fractions: got {parts.tolist()}, expected increasing ones above 0, the last of them 1")
    key = random_key("key", key)

    def forecasts(fraction: float) -> list[Forecast]:
        return [_forecast(run, k, fraction, at, prior, key, paths) for k, run in enumerate(runs)]

    found = forecasts(1.0)
    losses = np.stack([each.paths[:, 0] for each in found])
    mean = losses.mean(axis=1)
    order = np.argsort(mean)
    choices = [_choice(forecasts, fraction) for fraction in parts[:-1]] + [int(order[0])]
    gaps = losses - losses[order[0]]
    lower, upper = (np.quantile(losses, [0.5 + sign * level / 2 for level in LEVELS], axis=1) for sign in (-1, 1))
    return Ranking(
        order=order,
        mean=mean,
        lower=lower,
        upper=upper,
        probability=np.bincount(losses.argmin(axis=0), minlength=len(runs)) / losses.shape[1],
        better=np.mean(losses[:, None] < losses[None], axis=-1),
        gap=gaps.mean(axis=1),
        gap_stderr=gaps.std(axis=1),
        fractions=parts,
        choice=np.asarray(choices),
        settled=_settled(parts, np.asarray(choices), max(float(np.max(run["step"])) for run in runs) / at),
        step=np.asarray(at),
        warnings=tuple(each.warnings for each in found),
    )


def _check_runs(runs: Any) -> None:
    """Raise unless these are runs whose rows can be cut."""
    shown = "{'step': ..., 'loss': ...}"
    if isinstance(runs, str | Mapping) or not isinstance(runs, Sequence):
        raise TypeError(f"runs: got {type(runs).__name__}, expected a list of mappings such as {shown}, one a run")
    if len(runs) < 2:
        raise ValueError(f"runs: got {len(runs)}, expected at least 2 to compare")
    for number, run in enumerate(runs):
        if not isinstance(run, Mapping):
            raise TypeError(f"runs[{number}]: got {type(run).__name__}, expected a mapping such as {shown}")
        missing = [name for name in ("step", "loss") if name not in run]
        if missing:
            raise ValueError(f"runs[{number}]: got {sorted(map(str, run))}, expected {', '.join(missing)} too")
        step, loss = (known_array(f"runs[{number}][{name!r}]", run[name]) for name in ("step", "loss"))
        if step.ndim != 1 or step.shape != loss.shape or not step.size:
            raise ValueError(
                f"runs[{number}]: got step and loss of shapes {step.shape} and {loss.shape}, expected (rows,) twice; "
                "give each loss its step"
            )


class _TooYoung(ValueError):
    """A part of a run is too short for a forecast."""


def _forecast(run: Mapping[str, Any], number: int, fraction: float, at: float, prior, key, paths: int) -> Forecast:
    """The forecast for the step, from the first rows of one run."""
    step, loss = np.asarray(run["step"], np.float64), np.asarray(run["loss"], np.float64)
    seen = seen_part(step, fraction) if fraction < 1 else np.ones(len(step), bool)
    if fraction < 1 and np.sum(seen & (step > 0)) < 5:
        raise _TooYoung(f"runs[{number}]: {int(seen.sum())} rows")
    try:
        return forecast(
            *(step[seen], loss[seen], np.asarray([at])),
            learning_rate=run.get("learning_rate"),
            prior=prior,
            key=key,
            own_key=jax.random.fold_in(key, number + 1),
            paths=paths,
        )
    except ValueError as error:
        raise (_TooYoung if fraction < 1 else ValueError)(f"runs[{number}]: {error}") from error


def _choice(forecasts, fraction: float) -> int:
    """The run of the lowest expected loss; -1 where a part of a run cannot be forecast."""
    try:
        return int(np.argmin([each.mean[0] for each in forecasts(fraction)]))
    except _TooYoung:
        return -1


def _settled(fractions, choice, seen: float) -> np.ndarray:
    same = choice == choice[-1]
    since = len(same) - int(np.argmin(same[::-1])) if not same.all() else 0
    # A choice that was first made at the last fraction has not been seen to last.
    return np.asarray(fractions[since] * seen if since < len(same) - 1 or len(same) == 1 else np.nan)


def seen_part(step: np.ndarray, fraction: float) -> np.ndarray:
    """Which rows lie within the first ``fraction`` of the recorded steps, from the first to the last row.

    Raises:
        ValueError: the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(
            f"fraction: got {fraction}, expected more than 0 (nothing seen) and less than 1 (nothing left to "
            "forecast), such as 0.2"
        )
    step = np.asarray(step, np.float64)
    return step <= step[0] + fraction * (step[-1] - step[0])
