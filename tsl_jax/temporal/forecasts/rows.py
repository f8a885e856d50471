"""What a forecast is made of before any arithmetic: checked curves, clocks, responses, rolling origins."""

import functools
from typing import Any

import jax
import numpy as np

from ...arguments import known_array
from ..clock.dynamic_time import schedule_from_rates
from ..clock.schedule_rows import history
from ..laws.schedule_laws import MemoryLaw, MultiPowerLaw
from .family_course import family_log_clock
from .law_posterior import Rows
from .peak_course import relative_course
from .prior_numbers import DEFAULT_PRIOR, ForecastPrior

#: Laws that a forecast averages, the first of which needs no schedule.
LAWS = ("step power law", "time power law", "memory law", "multi-power law")
#: How likely each is before any data: that annealing lowers the loss is the common finding, and a run that has not
#: annealed yet cannot tell the laws apart.
PRIOR_WEIGHTS = {"step power law": 0.005, "time power law": 0.005, "memory law": 0.495, "multi-power law": 0.495}

#: Laws whose response to the learning rate a forecast tries, by name.
KINDS: dict[str, type] = {"memory law": MemoryLaw, "multi-power law": MultiPowerLaw}
#: Their shapes, for a highest rate of 1: a forecast's few rows cannot determine them. The first two of each are those
#: of the laws fitted to the runs of 25M and 100M parameters of arXiv 2503.12811, the others quicker or slower.
SHAPES: dict[str, tuple[dict[str, float], ...]] = {
    "memory law": tuple(
        {"fast_memory": fast, "slow_memory": slow, "fast_fraction": share}
        for fast, slow, share in ((84.0, 2140.0, 0.66), (83.0, 1650.0, 0.62), (30.0, 500.0, 0.5), (300.0, 3000.0, 0.5))
    ),
    "multi-power law": tuple(
        {"speed": speed, "slowness": slowness, "rate_exponent": power}
        for speed, slowness, power in (
            (0.0232, 0.522, 0.534),
            (0.0213, 0.52, 0.524),
            (0.33, 0.4, 0.65),
            (0.01, 0.8, 0.65),
        )
    ),
}
#: Fractions of the seen clock before which rows are left out, each tried.
STARTS = (0.0, 0.125, 0.25, 0.5)
#: More seen rows than this are averaged in neighbouring pairs, threes, ...; forecasts are made at this many steps, and
#: paths are straight between them.
_MOST_ROWS, _LATER = 64, 96
#: Rows are padded to a multiple of this where a law is evaluated, so that it compiles once.
_TOGETHER = 32
#: By so much of the highest rate so far a rate lies below it where it has fallen: rounding is no end of a warm-up.
_ROUNDING = 1e-6
#: Fewest rows that a law is fitted to, and that an origin knows.
FEWEST = 3


def later_steps(at: np.ndarray) -> np.ndarray:
    """Steps that paths are drawn at: all, or as many as are enough."""
    if len(at) <= _LATER:
        return at
    return at[np.unique(np.linspace(0, len(at) - 1, _LATER).round().astype(int))]


def checked_curve(step: Any, loss: Any, at: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, losses and later steps as NumPy float64 arrays; a row at step 0 is left out.

    Raises:
        ValueError, TypeError: see `tsl_jax.temporal.forecasts.mean_loss`.
    """
    step, loss, at = known_array("step", step), known_array("loss", loss), known_array("at", at)
    if step.ndim != 1 or step.shape != loss.shape:
        raise ValueError(
            f"step, loss: got shapes {step.shape} and {loss.shape}, expected (rows,) twice; give each loss its step"
        )
    for name, values in (("step", step), ("loss", loss)):
        if not np.all(np.isfinite(values)):
            row = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{name}: row {row} is {values[row]}, expected a finite number; leave that row out")
    falls = np.flatnonzero(np.diff(step) <= 0)
    if falls.size:
        row = int(falls[0]) + 1
        raise ValueError(
            f"step: got {step[row - 1]:g} then {step[row]:g} at row {row}, expected increasing steps; sort the rows "
            "and drop repeated ones"
        )
    if step.size and step[0] < 0:
        raise ValueError(f"step: got {step[0]:g} at row 0, expected steps of 0 or above")
    step, loss = step[step > 0], loss[step > 0]
    if len(step) < FEWEST:
        raise ValueError(
            f"step: got {len(step)} rows after step 0, expected at least {FEWEST}; a course cannot be told from fewer, "
            "so wait for more checkpoints or raise the fraction"
        )
    part = max(1, len(loss) // 4)
    early, late = np.mean(loss[:part]), np.mean(loss[-part:])
    if late >= early:
        way = "rises" if late > early else "does not fall"
        raise ValueError(
            f"loss: {way} from {early:.4g} (mean of the first {part} rows) to {late:.4g} (of the last), expected a "
            "loss that falls; leave out the rows before it does, or forecast an older run"
        )
    if at.ndim != 1 or not at.size or not np.all(np.isfinite(at)) or np.any(np.diff(at) <= 0):
        came = f"shape {at.shape}" if at.ndim != 1 else f"{len(at)} value(s), {at[:3].tolist()} ..."
        raise ValueError(f"at: got {came}, expected increasing steps, at least one; pass a list such as [10000]")
    if at[0] <= step[-1]:
        raise ValueError(f"at: begins with step {at[0]:g}, expected steps after the last seen one, {step[-1]:g}")
    return step, loss, at


def rates_of(learning_rate: Any, last: float) -> np.ndarray | None:
    """Rate of every update as a NumPy array, checked; ``None`` stays.

    Raises:
        ValueError: rates that are negative, not finite or all 0; a schedule that ends before the forecast.
    """
    if learning_rate is None:
        return None
    rates = known_array("learning_rate", getattr(learning_rate, "learning_rate", learning_rate))
    if rates.ndim != 1 or not rates.size or not np.all(np.isfinite(rates)) or np.any(rates < 0) or not rates.any():
        raise ValueError(
            f"learning_rate: got an array of shape {rates.shape}, expected (updates,) finite rates of 0 or above, not "
            "all 0"
        )
    if last > len(rates):
        raise ValueError(
            f"learning_rate: the schedule ends at update {len(rates)}, shorter than the forecast to step {last:g}; "
            "pass the rates of all updates, or forecast less far"
        )
    return rates


def law_rows(
    laws: tuple[str, ...],
    step: np.ndarray,
    rates: np.ndarray | None,
    loss: np.ndarray | None = None,
    prior: ForecastPrior = DEFAULT_PRIOR,
) -> Rows:
    """Clocks and responses of all laws at these steps, shapes padded with ones of weight 0.

    With the losses of the first rows, responses go with the power of the loss that the prior says.
    """
    shapes = SHAPES if prior.shapes is None else {law: [dict(each) for each in of_law] for law, of_law in prior.shapes}
    number = max(len(shapes[law]) if rates is not None and law in shapes else 1 for law in laws)
    clocks, answers, weights = [], [], []
    passed = None if rates is None else np.concatenate([[0.0], np.cumsum(rates / rates.max())])
    for law in laws:
        clock = step if law == LAWS[0] or passed is None else np.interp(step, np.arange(len(passed)), passed)
        answer = np.zeros((1, len(step)))
        if rates is not None and law in shapes:
            answer = responses(law, step, risen(rates), shapes[law])
        clocks.append(family_log_clock(np.log(np.maximum(clock, 1e-3)), prior.clock))
        if loss is not None and answer.any():
            answer = answer * relative_course(clocks[-1], loss, answer.mean(axis=0), prior)
        answers.append(np.pad(answer, ((0, number - len(answer)), (0, 0))))
        weights.append(np.where(np.arange(number) < len(answer), -np.log(len(answer)), -np.inf))
    return Rows(np.stack(clocks), np.stack(answers), np.stack(weights))


def responses(law: str, step: np.ndarray, rates: np.ndarray, shapes: Any = None) -> np.ndarray:
    """(shapes, rows) what the learning rate's falls have brought by each step, for each shape of a law.

    ``1 - lagged_rate/highest``: 1 when a rate that fell from its highest value to 0 long ago has had its full effect.
    """
    schedule = schedule_from_rates(rates / rates.max())
    least = int(np.argmax(rates > 0)) + 1  # before it nothing has happened
    whole, place = np.unique(np.maximum(np.round(step), least), return_inverse=True)
    seen = history(schedule, whole)
    of_law, shapes = KINDS[law](), SHAPES[law] if shapes is None else shapes
    table = {name: np.array([shape[name] for shape in shapes], np.float32) for name in of_law.shapes}
    padded = seen[np.minimum(np.arange(-(-len(whole) // _TOGETHER) * _TOGETHER), len(whole) - 1)]
    return 1 - np.asarray(_lagged(of_law, table, padded), np.float64)[:, place]


def risen(rates: np.ndarray) -> np.ndarray:
    """The rates, up to their first fall what they had risen to: a warm-up brings nothing that could be taken back.

    A response that dies after a warm-up would take the steepness of the early losses for what annealing brings.
    """
    fallen = rates < (1 - _ROUNDING) * np.maximum.accumulate(rates)
    rise = rates[: np.argmax(fallen)] if fallen.any() else rates
    return np.concatenate([np.full(len(rise), rise.max()), rates[len(rise) :]])


@functools.partial(jax.jit, static_argnums=0)
def _lagged(law, shapes, seen):
    return jax.lax.map(lambda shape: law.lagged_rate(shape, seen), shapes)


def log_weights(laws: tuple[str, ...], prior: ForecastPrior) -> np.ndarray:
    """(laws,) logarithms of the laws' weights before the run was seen."""
    own = dict(prior.law_weights or ())
    if unknown := own.keys() - PRIOR_WEIGHTS:
        raise ValueError(f"ForecastPrior.law_weights: got {sorted(unknown)}, expected some of {sorted(PRIOR_WEIGHTS)}")
    among = sum(PRIOR_WEIGHTS[law] for law in own)
    return np.log([among * own[law] if law in own else PRIOR_WEIGHTS[law] for law in laws])


def thinned(step: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 64 rows: means of neighbours, the last row being the mean of the last ones."""
    together = -(-len(step) // _MOST_ROWS)
    if together == 1:
        return step, loss
    drop = len(step) % together
    means = [values[drop:].reshape(-1, together).mean(axis=1) for values in (step, loss)]
    return means[0], means[1]


def origins_of(log_clock: np.ndarray, starts: tuple[float, ...], origins: int) -> np.ndarray:
    """(starts, origins + 1, rows) the rows known at each rolling origin; the last origin knows all that is seen.

    Origins lie evenly in the logarithm of the clock, the first where the seen part goes about as far beyond it as a
    forecast usually does; each knows at least three rows, however late the start.
    """
    rows, last = len(log_clock), log_clock[-1]
    least = min(max(FEWEST, rows // 6), rows - 1)
    lowest = max(log_clock[least - 1], last - np.log(5.0))
    targets = np.linspace(lowest, last - 0.25 * (last - lowest), origins)
    ends = np.clip(np.searchsorted(log_clock, targets, side="right"), least, rows - 1)
    ends = np.append(ends, rows)
    masks = np.zeros((len(starts), len(ends), rows), bool)
    for i, start in enumerate(starts):
        for j, end in enumerate(ends):
            begin = np.searchsorted(log_clock[:end], np.log(max(start, 1e-30)) + log_clock[end - 1])
            masks[i, j, min(begin, max(end - FEWEST, 0)) : end] = True
    return masks


def chosen_laws(laws: tuple[str, ...] | None, scheduled: bool) -> tuple[str, ...]:
    """Names of the laws of a forecast: those that are asked for, or all that the schedule allows.

    Raises:
        ValueError: an unknown law, one that needs a schedule which is not known, or none.
    """
    possible = LAWS if scheduled else LAWS[:1]
    names = possible if laws is None else (laws,) if isinstance(laws, str) else tuple(laws)
    for name in names:
        if name not in LAWS:
            raise ValueError(f"laws: got {name!r}, expected some of {', '.join(LAWS)}")
        if name not in possible:
            raise ValueError(f"laws: {name} needs the schedule; pass learning_rate, or leave this law out")
    if not names:
        raise ValueError("laws: got none, expected at least one")
    return names
