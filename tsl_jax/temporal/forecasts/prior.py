"""What finished runs say about what annealing brings: a prior for runs that have not annealed yet."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...arguments import real_number
from ...jax_switches import with_own_switches
from ..clock.dynamic_time import schedule_from_rates
from ..clock.schedule_rows import History, history, join_histories
from ..laws.cross_validation import leave_one_run_out
from ..laws.interface import ScheduleLaw
from ..laws.law_fit import LawFit, LawFitOptions, fit_law
from .known_family import family_prior
from .prior_numbers import DEFAULT_PRIOR, ForecastPrior
from .rows import KINDS, checked_curve, rates_of, thinned
from .trends import SPREADS, scatter, trend

#: Strengths of each law's shrinkage that are tried on runs left out; the first where there are none to leave out.
_STRENGTHS = {"memory law": (0.01, 0.1), "multi-power law": (0.1, 0.01)}
#: Runs are left out in this many groups, one by one where there are no more.
_GROUPS = 5
#: Of the fits to all runs of a size, and of those to all but some.
_OPTIONS, _LEFT_OUT = LawFitOptions(huber=1e-3), LawFitOptions(huber=1e-3, starts=1)
#: The early transient (nat) where the family's runs are known: those of arXiv 2503.12811 lie 0.004 to 0.04 off their
#: laws at the first row, and a narrower one makes their forecasts worse.
_TRANSIENT = 0.05
#: Of `default_prior`: the size at which the default holds, and the slope of ln gain over ln size.
_MIDDLE, _SLOPE = 5e7, 0.13


class _OfSize(NamedTuple):
    """What the runs of one size show: ln of each quantity with its variance, the laws' shapes, and how they predict."""

    values: dict[str, tuple[float, float]]
    shapes: dict[str, dict[str, float]]
    #: (runs,) mean square error of each run, predicted without it, nat², of each law; empty for an only run.
    left_out: dict[str, np.ndarray]


@with_own_switches
def prior_from_runs(
    runs: Sequence[Mapping[str, Any]], prior: ForecastPrior = DEFAULT_PRIOR, *, size: float | None = None
) -> ForecastPrior:
    """Replaces the prior of gain, exponent, noise, transient and the laws' shapes by what other, finished runs show.

        ``ln gain(size) = level + slope · ln(size) + deviation``, and so for the exponent and the noise

    The memory law and the multi-power law are fitted to all runs of a size at once. How strongly each is shrunk, and
    how much each counts, is chosen by their errors on runs left out. Level and slope have wide normal priors, the
    level's being ``prior``: one size says nothing about the slope, so that the spread grows with the distance of the
    size that is asked for; two or more sizes say where it goes (hierarchical shrinkage).

    Of runs without learning rates, taken for constant, the shape of the course is learned, which goes with ln(size),
    too: a clock in which it is a power law (`ForecastPrior.clock`). From four runs on, forecasts of each by the others
    choose how far a run may be off it (``exponent_std``, ``transient``, ``drift``) and how wide bands are (``kept``).

    Args:
        runs: of each a mapping with ``step``, ``loss`` and ``learning_rate``, the rates of all updates, all of them or
            none, and, where it is known, ``size``, the number of its parameters.
        prior: what the levels are drawn to, and everything that is not replaced.
        size: parameters of the model to be forecast; ``None``: as the runs' in the mean.

    Returns:
        `ForecastPrior`.

    Raises:
        ValueError: no run, one without learning rates where others have them, one that `forecast` would refuse, or a
            size that is not positive.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import ForecastPrior, prior_from_runs
        >>> step = np.arange(50.0, 2001.0, 50.0)
        >>> rate = np.where(np.arange(2000) < 1000, 1.0, 0.1)
        >>> loss = 3 + 20 * (np.cumsum(rate)[step.astype(int) - 1]) ** -0.5 - 0.4 * 0.9 * (step > 1000)
        >>> prior = prior_from_runs([{"step": step, "loss": loss, "learning_rate": rate}])
        >>> prior.gain > 0.2
        True
    """
    if not runs:
        raise ValueError("runs: got none, expected at least one finished run")
    sizes = [_size(f"runs[{k}]['size']", run.get("size")) for k, run in enumerate(runs)]
    known = [np.log(each) for each in sizes if each is not None]
    middle = float(np.mean(known)) if known else 0.0
    places = np.array([middle if each is None else np.log(each) for each in sizes])
    asked = _size("size", size)
    if all(run.get("learning_rate") is None for run in runs):
        curves = [_checked_curve(run, number) for number, run in enumerate(runs)]
        return family_prior(curves, places, None if asked is None or not known else float(np.log(asked)), prior)
    checked = [_checked(run, number) for number, run in enumerate(runs)]
    reference = float(np.median([rates.sum() / rates.max() for _, _, rates in checked]))
    found, distance = [], []
    for place in np.unique(places):
        of_size = [run for run, where in zip(checked, places, strict=True) if where == place]
        found.append(_of_size(of_size, prior, reference))
        distance.append(place - middle)
    at = 0.0 if asked is None or not known else np.log(asked) - middle
    replaced = {}
    for name, spread in SPREADS.items():
        values = [each.values[name] for each in found]
        places, level = np.array(distance), np.log(max(getattr(prior, name), 1e-3))
        mean, std = trend(places, np.array(values), level, at, spread)
        if asked is None:  # it may be of any of these sizes
            std = np.hypot(std, np.std([trend(places, np.array(values), level, x, spread)[0] for x in places]))
        replaced[name] = float(np.exp(mean))
        replaced[f"{name}_std"] = float(std * (replaced[name] if name == "gain" else 1.0))
    nearest = np.argsort(np.abs(np.array(distance) - at))
    shapes = tuple((law, tuple(tuple(found[k].shapes[law].items()) for k in nearest[:4])) for law in _STRENGTHS)
    weights = _law_weights(found)
    known_family = {"transient": min(prior.transient, _TRANSIENT), "shapes": shapes, "law_weights": weights}
    return dataclasses.replace(prior, gain_time=reference, **known_family, **replaced)


def default_prior(size: float | None = None) -> ForecastPrior:
    """The prior of a family that is not known, for a model of a size.

    ``gain(size) = default · (size / 50M)^0.13``, the trend between the runs of 25M and 100M parameters of arXiv
    2503.12811; the spread stays that of a family that is not known.

    Args:
        size: parameters of the model; ``None``: unknown.

    Returns:
        `ForecastPrior`.

    Raises:
        ValueError: a size that is not positive.

    Example:
        >>> from tsl_jax.temporal import default_prior
        >>> default_prior(1e9).gain > default_prior().gain
        True
    """
    parameters = _size("size", size)
    if parameters is None:
        return DEFAULT_PRIOR
    return dataclasses.replace(DEFAULT_PRIOR, gain=DEFAULT_PRIOR.gain * (parameters / _MIDDLE) ** _SLOPE)


def _size(name: str, value: Any) -> float | None:
    if value is None:
        return None
    size = real_number(name, value, "the number of parameters")
    if not size > 0:
        raise ValueError(f"{name}: got {value!r}, expected the number of parameters, such as 25e6")
    return size


def _checked(run: Mapping[str, Any], number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, losses and rates of one run."""
    if run.get("learning_rate") is None:
        raise ValueError(
            f"runs[{number}]: has no learning rates but others have, expected them of all runs or of none; leave out "
            "this run or those"
        )
    step, loss = _checked_curve(run, number)
    rates: Any = rates_of(run["learning_rate"], float(step[-1]))
    kept = step > np.argmax(rates > 0)
    return step[kept], loss[kept], rates


def _checked_curve(run: Mapping[str, Any], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses of one run."""
    for name in ("step", "loss"):
        if run.get(name) is None:
            raise ValueError(f"runs[{number}]: has no {name!r}, expected the steps and losses of a finished run")
    last = float(np.max(np.asarray(run["step"], np.float64), initial=0.0))
    try:
        return checked_curve(run["step"], run["loss"], np.asarray([last + 1]))[:2]
    except ValueError as error:
        raise ValueError(f"runs[{number}]: {error}") from error


def _of_size(runs: list[tuple[np.ndarray, np.ndarray, np.ndarray]], prior: ForecastPrior, reference: float) -> _OfSize:
    seen, losses, noises = [], [], []
    peak = max(rates.max() for _, _, rates in runs)
    for step, loss, rates in runs:
        noises.append(scatter(loss))
        step, loss = thinned(step, loss)
        seen.append(_rows(step, rates))
        losses.append(loss)
    rows, loss = join_histories(seen), np.concatenate(losses)
    run = np.repeat(np.arange(len(losses)), [len(each) for each in losses])
    fits, left_out = {}, {}
    for name, strengths in _STRENGTHS.items():
        law = KINDS[name](prior.gain_power)
        shrinkage = np.stack([law.shrinkage(strength) for strength in strengths])
        errors = _left_out(law, rows, loss, run, shrinkage)
        best = int(np.argmin(errors.mean(axis=1))) if errors.size else 0
        left_out[name] = errors[best]
        fits[name] = fit_law(law, rows, loss, shrinkage=shrinkage[best], options=_OPTIONS)
    gains = [_log_gain(fit, peak, reference) for fit in fits.values()]
    spread = float(np.var([gain for gain, _ in gains]))
    exponents = [float(np.log(fit.params["exponent"])) for fit in fits.values()]
    values = {
        "gain": (float(np.mean([gain for gain, _ in gains])), float(np.mean([v for _, v in gains])) + spread),
        "exponent": (float(np.mean(exponents)), float(np.var(exponents))),
        "noise": (float(np.mean(np.log(noises))), 0.0),
    }
    return _OfSize(values, {name: _shape(fit, peak) for name, fit in fits.items()}, left_out)


def _left_out(law: ScheduleLaw, rows: History, loss: np.ndarray, run: np.ndarray, shrinkage) -> np.ndarray:
    """(strengths, runs) mean square error of each run, predicted without it, nat²; no column for an only run."""
    if run[-1] == 0:
        return np.zeros((len(shrinkage), 0))
    predicted = leave_one_run_out(law, rows, loss, run % _GROUPS, shrinkage=shrinkage, options=_LEFT_OUT)
    square = np.square(np.asarray(predicted, np.float64) - loss)
    return np.stack([square[:, run == number].mean(axis=1) for number in range(run[-1] + 1)], axis=1)


def _law_weights(found: list[_OfSize]) -> tuple[tuple[str, float], ...] | None:
    """Weights of the laws that know the rate: in inverse proportion to mean square errors on runs left out.

    Source: J. M. Bates and C. W. J. Granger, The combination of forecasts, Operational Research Quarterly 20 (1969).
    """
    errors = {name: np.concatenate([each.left_out[name] for each in found]) for name in _STRENGTHS}
    if not next(iter(errors.values())).size:
        return None
    inverse = {name: 1 / max(float(each.mean()), 1e-12) for name, each in errors.items()}
    return tuple((name, value / sum(inverse.values())) for name, value in inverse.items())


def _rows(step: np.ndarray, rates: np.ndarray) -> History:
    whole, place = np.unique(np.maximum(np.round(step), 1), return_inverse=True)
    return history(schedule_from_rates(rates), whole)[place]


def _log_gain(fit: LawFit, peak: float, reference: float) -> tuple[float, float]:
    """ln of the fall from the peak rate to 0 after the reference's time at the peak, and its variance."""
    k = fit.law.names.index("excess")
    value = {name: float(number) for name, number in fit.params.items()}
    base = value["floor"] + value["coefficient"] * (reference * peak) ** -value["exponent"]
    gain = value["excess"] * peak * base**fit.law.noise_power
    variance = float(fit.covariance[k, k])
    return float(np.log(max(gain, 1e-6))), variance if np.isfinite(variance) else 1.0


def _shape(fit: LawFit, peak: float) -> dict[str, float]:
    """The shape for a highest rate of 1, as forecasts take it."""
    shape = {name: float(fit.params[name]) for name in fit.law.shapes}
    if "speed" in shape:
        shape["speed"] *= float(peak) ** (1 - shape["rate_exponent"])
    return shape
