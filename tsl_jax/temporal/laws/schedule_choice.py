"""Which learning-rate schedule fitted laws prefer for a number of updates, and what it gains."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...arguments import probability, whole_number
from ...jax_switches import own_switches, with_own_switches
from ..checks import random_key
from ..clock.dynamic_time import schedule_from_rates
from ..clock.schedule_rows import history, join_histories
from .end_of_schedule import UpdateGrid, all_rates, update_grid
from .interface import ScheduleLaw
from .law_fit import LawFit, LawFitOptions, fit_law
from .schedule_gain import drawn_losses, end_errors, gain_intervals, simplest
from .schedule_laws import MemoryLaw, MultiPowerLaw
from .schedule_limits import bounds_of, outside, seen_rates
from .schedule_search import Bounds, best_free, best_of_shape
from .schedule_shapes import FREE, SCHEDULE_SHAPES, shapes_of
from .selection import LawChoice, SizeRuns

#: What is averaged unless laws are given, and how strongly fits are shrunk.
DEFAULT_LAWS: tuple[ScheduleLaw, ...] = (MultiPowerLaw(4.0), MemoryLaw())
STRENGTH = 0.01
#: The schedules that the choice is compared with: both end at the lowest rate.
BASELINES: dict[str, tuple[str, dict[str, float]]] = {"cosine": ("cosine", {}), "wsd": ("wsd-linear", {"start": 0.8})}


@dataclasses.dataclass(frozen=True)
class ScheduleChoice:
    """The schedule that `best_schedule` found.

    Attributes:
        learning_rate: (updates,) rate of every update.
        shape: name of its shape, or ``"free"``.
        params: of the shape: ``start`` (part of the updates after the warm-up at which the decay begins), ``final``
            (last rate over the peak), ``power``.
        loss: predicted at the end, nat.
        tried: of every shape that was asked for, the lowest loss at the end (nat) and the parameters.
        baseline: (updates,) rates of the schedules it is compared with, by name.
        baseline_loss: their predicted losses at the end, nat.
        gain: their loss less that of the choice, nat.
        lower: lower ends of the intervals of the gains, nat.
        upper: upper ends.
        level: of the intervals.
        parameter_error: standard deviation of the gains from the errors of the laws' parameters alone, nat.
        misfit: root mean square error of the difference between two runs' last losses, each predicted from the
            other runs, nat; a part of the intervals.
        warnings: where the choice lies outside what the runs have shown, sentences.
        fits: the laws, whose losses are averaged.
        passed_over: of less simple shapes with a lower predicted loss, what they gain over the choice, nat, and the
            standard deviation of that gain, which is larger.
    """

    learning_rate: Float[np.ndarray, " updates"]
    shape: str
    params: Mapping[str, float]
    loss: float
    tried: Mapping[str, tuple[float, Mapping[str, float]]]
    baseline: Mapping[str, Float[np.ndarray, " updates"]]
    baseline_loss: Mapping[str, float]
    gain: Mapping[str, float]
    lower: Mapping[str, float]
    upper: Mapping[str, float]
    level: float
    parameter_error: Mapping[str, float]
    misfit: float
    warnings: tuple[str, ...]
    fits: tuple[LawFit, ...]
    passed_over: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def predict(self, learning_rate: Any, step: Any) -> Float[np.ndarray, " rows"]:
        """Mean loss (nat) of the laws at these steps of a schedule with these rates."""
        rows = history(schedule_from_rates(learning_rate), step)
        with own_switches(), jax.enable_x64(True):
            return np.mean([np.asarray(fit.predict(rows)) for fit in self.fits], axis=0)


@with_own_switches
def best_schedule(
    runs: SizeRuns,
    num_steps: int,
    *,
    warmup_steps: int = 0,
    shapes: Sequence[str] = ("constant", "linear", "cosine", "wsd", "free"),
    laws: Sequence[ScheduleLaw] | LawChoice = DEFAULT_LAWS,
    peak: float | None = None,
    lowest: float | None = None,
    shortest_fall: int | None = None,
    level: float = 0.9,
    options: LawFitOptions = LawFitOptions(huber=1e-3),
    key: Array | None = None,
) -> ScheduleChoice:
    """The learning-rate schedule with the lowest predicted loss after so many updates.

        ``η* = argmin over η of  mean over laws of  L(η_1, ..., η_N)``,  ``lowest <= η <= peak``

    The laws are fitted jointly to finished runs. Parameters of a shape are found on a grid that closes in; ``free``
    searches rates that do not rise after the warm-up by gradient (Adam), from the other shapes. They are chosen
    where they end lower than every shape by more than the error of that; else the best shape is. Two schedules are
    compared with: cosine, and WSD with a linear decay over the last fifth, both from ``peak`` to ``lowest``. The
    intervals of the gains hold errors of the parameters, for residuals correlated from row to row, and the error with
    which the difference between two runs is predicted from the other runs. A search picks what flatters the law: the
    gain is on average somewhat less than predicted.

    Args:
        runs: finished runs, at least two, one of which lowers its rate; see `SizeRuns`.
        num_steps: updates of the budget.
        warmup_steps: of them, the linear warm-up from 0.
        shapes: some of `SCHEDULE_SHAPES` and ``"free"``; ``"wsd"`` for all shapes that begin so.
        laws: whose predictions are averaged, or what `choose_laws` found.
        peak: highest rate; by default that of the runs.
        lowest: lowest rate after the warm-up; by default that of the runs.
        shortest_fall: updates over which the last fall extends at least, so that a law which follows the rate at once
            does not keep the peak to the last update; by default the distance of the runs' rows, within which they
            show nothing.
        level: of the intervals.
        options: of the fits.
        key: random key of the intervals; by default always the same.

    Returns:
        `ScheduleChoice`.

    Raises:
        TypeError: an argument is of another type.
        ValueError: fewer than two runs, none whose rate falls, a budget that is no longer than its warm-up and last
            fall, rates out of order, an unknown shape, or what `fit_law` refuses.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import AnnealingLaw, SizeRuns, best_schedule, history, join_histories
        >>> from tsl_jax.temporal import schedule_from_rates
        >>> rates = [np.full(400, 1e-3), np.repeat([1e-3, 1e-4], 200), np.repeat([1e-3, 5e-4], 200)]
        >>> seen = join_histories([history(schedule_from_rates(rate), np.arange(40, 401, 10)) for rate in rates])
        >>> truth = dict(floor=2.0, coefficient=0.1, exponent=0.4, excess=100.0, memory=30.0)
        >>> runs = SizeRuns(seen, np.asarray(AnnealingLaw().predict(truth, seen)), np.repeat([0, 1, 2], 37))
        >>> found = best_schedule(runs, 400, shapes=("cosine", "wsd-linear"), laws=[AnnealingLaw()])
        >>> found.shape, found.gain["cosine"] > 0, len(found.learning_rate)
        ('wsd-linear', True, 400)

    Source: arXiv 2503.12811, section 5, for the search by gradient.
    """
    num_steps, warmup_steps = whole_number("num_steps", num_steps), whole_number("warmup_steps", warmup_steps, 0)
    level, names = probability("level", level), shapes_of(tuple(shapes))
    seen = seen_rates(runs)
    bounds = bounds_of(seen, num_steps - max(warmup_steps, 1), peak, lowest, shortest_fall)
    chosen, strengths = _laws(laws)
    first, second = jax.random.split(random_key("key", key))
    with jax.enable_x64(True):
        pairs = list(zip(chosen, strengths, strict=True))
        joint = runs.history, runs.loss
        fits = tuple(fit_law(law, *joint, shrinkage=law.shrinkage(x), options=options) for law, x in pairs)
        grid = update_grid(num_steps, warmup_steps)
        tried = _search(names, fits, grid, bounds)
        rates = [
            all_rates(nodes, grid) if n == FREE else _rates(n, v, grid, bounds) for n, (v, nodes, _) in tried.items()
        ]
        for shape, given in BASELINES.values():
            rates.append(_rates(shape, given | {"final": bounds.lowest / bounds.peak}, grid, bounds))
        ends = join_histories([history(schedule_from_rates(each), np.array([num_steps])) for each in rates])
        losses = np.mean([np.asarray(fit.predict(ends), np.float64) for fit in fits], axis=0)
        drawn = drawn_losses(fits, runs, ends, first)
        misfit = end_errors(chosen, strengths, runs, options).of_difference
        freedom = {name: float(name == FREE) for name in tried}
        best, passed_over = simplest(freedom, losses[: len(tried)], drawn[:, : len(tried)], misfit)
        kept = [list(tried).index(best), *range(len(tried), len(rates))]
        schedules, losses, drawn = [rates[k] for k in kept], losses[kept], drawn[:, kept]
        lower, upper = gain_intervals(drawn, misfit, level, second)
    named = {name: k for k, name in enumerate(BASELINES)}
    return ScheduleChoice(
        schedules[0],
        best,
        tried[best][0],
        float(losses[0]),
        {name: (loss, params) for name, (params, _, loss) in tried.items()},
        dict(zip(BASELINES, schedules[1:], strict=True)),
        {name: float(losses[1 + k]) for name, k in named.items()},
        {name: float(losses[1 + k] - losses[0]) for name, k in named.items()},
        {name: float(lower[k]) for name, k in named.items()},
        {name: float(upper[k]) for name, k in named.items()},
        level,
        {name: float(np.std(drawn[:, 1 + k] - drawn[:, 0])) for name, k in named.items()},
        misfit,
        outside(schedules[0], warmup_steps, seen, bounds),
        fits,
        passed_over,
    )


def _laws(laws: Sequence[ScheduleLaw] | LawChoice) -> tuple[tuple[ScheduleLaw, ...], tuple[float, ...]]:
    """Laws and how strongly each is shrunk.

    Raises:
        TypeError: something that is no law. ValueError: none, or one that knows no schedule.
    """
    if isinstance(laws, LawChoice):
        return laws.laws, laws.strengths
    chosen = tuple(laws)
    for law in chosen:
        if not isinstance(law, ScheduleLaw):
            raise TypeError(f"laws: got {type(law).__name__}, expected laws such as tsl_jax.temporal.MultiPowerLaw()")
    if not chosen:
        raise ValueError("laws: got none, expected at least one")
    if not any(law.has_excess for law in chosen):
        names = ", ".join(law.name for law in chosen)
        raise ValueError(f"laws: got {names}, which see no change of the rate; add one that does, as MultiPowerLaw()")
    return chosen, (STRENGTH,) * len(chosen)


def _search(
    names: Sequence[str], fits: Sequence[LawFit], grid: UpdateGrid, bounds: Bounds
) -> dict[str, tuple[dict[str, float], np.ndarray, float]]:
    """Parameters, rates at the nodes and last loss of the best schedule of each shape."""
    free = FREE in names
    shapes = [name for name in SCHEDULE_SHAPES if name in names or (free and name != "constant")]
    found = {name: best_of_shape(SCHEDULE_SHAPES[name], fits, grid, bounds) for name in shapes}
    tried = {name: found[name] for name in names if name != FREE}
    if free:
        rates, loss = best_free(fits, grid, bounds, [nodes for _, nodes, _ in found.values()])
        tried[FREE] = {}, rates, loss
    return tried


def _rates(shape: str, values: Mapping[str, float], grid: UpdateGrid, bounds: Bounds) -> Float[np.ndarray, " updates"]:
    """The rate of every update of a shape."""
    every = np.arange(grid.node[0], grid.node[-1] + 1)
    progress = jnp.asarray((every - every[0]) / (every[-1] - every[0]))
    given = {name: jnp.asarray(value) for name, value in values.items()}
    peak = bounds.peak
    rates = peak * np.asarray(SCHEDULE_SHAPES[shape].rate(progress, given), np.float64)
    return np.concatenate([peak * np.arange(1, every[0]) / every[0], rates])
