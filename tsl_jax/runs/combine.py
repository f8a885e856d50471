"""Fits of the same tokens in several runs as one fit a token: weighted means, and what they say of an event."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..fitting import Category, Status
from .category_mixture import CombinedCategories, combined_categories, event_chances, used_runs
from .component import Events
from .components import RunComponents
from .coordinates import Coordinate
from .tokens import FittedTokens, TokenKind, kinds_of

#: Degrees of freedom of an error that is taken for exact.
_MANY = 1e6
#: Statistics that add up over the runs of a token; all others are means.
_ADDED = ("rss", "num_points", "effective_points")


@dataclasses.dataclass(frozen=True)
class CombinedTokens:
    """One fit a token from several runs, arrays (tokens,).

    Attributes:
        params: parameters by name.
        stderr: their errors: what would scatter if as many other runs were combined.
        status: `Status`: AT_BOUND where a parameter has no error in any run that was used, and is on its bound in one;
            else MAX_STEPS if one of them is, else CONVERGED. Of tokens without a fit in any run the least code.
        category: the likeliest by the probabilities.
        probabilities: of the categories by name, NaN without a fit; empty for families without events.
        used: (runs, tokens) whose fits were used.
        fitted: (runs, tokens) whether there is a fit.
    """

    params: dict[str, Float[np.ndarray, " tokens"]]
    stderr: dict[str, Float[np.ndarray, " tokens"]]
    status: UInt8[np.ndarray, " tokens"]
    category: UInt8[np.ndarray, " tokens"]
    probabilities: dict[str, Float[np.ndarray, " tokens"]]
    used: Bool[np.ndarray, "runs tokens"]
    fitted: Bool[np.ndarray, "runs tokens"]


def combine_runs(
    fits: Sequence[FittedTokens],
    coordinates: Mapping[str, Coordinate],
    components: RunComponents,
    event: str | None,
    window: tuple[float, float],
) -> CombinedTokens:
    """Combine the fits of the same tokens in several runs.

    The probability that a token has an event is the mean of its runs; with at least one half the runs that found an
    event count, of any other token those that found none. Runs whose event falls, or rises, as in most of them (where
    they are as many, as the sum of their drops) are used: ``y = Σ w_r y_r / Σ w_r`` in the comparison's coordinate,
    with ``w_r = 1 / (factor · s_r² + additive)``, over the component's factor at the runs' mean learning time, and the
    error ``1 / sqrt(Σ w_r)``. The probabilities of its categories follow from that of an event and from the combined
    time, its error and the window, as those of a single fit do; its category is the likeliest. A run without an error
    of a parameter counts for it only if none has one: then y is the plain mean, and its error NaN. Likewise where a
    logarithm has no place.

    Args:
        fits: of the tokens, one item a run, arrays (tokens,).
        coordinates: of the parameters, by name.
        components: how runs differ; standard errors alone weigh where that is not known.
        event: the parameter at which an event happens; None for families without events.
        window: first and last checkpoint, axis units.

    Returns:
        `CombinedTokens`.
    """
    kinds = np.stack([kinds_of(one, event is not None) for one in fits])
    if "loss_drop" in fits[0].params:
        drops = np.stack([np.asarray(one.params["loss_drop"], np.float64) for one in fits])
    else:
        drops = np.ones(kinds.shape)
    chances = None if event is None else event_chances(fits, kinds)
    used, rises = used_runs(kinds, drops, chances)
    params, stderr = {}, {}
    times = None if event is None else _mean_times(fits, coordinates[event], event, used)
    for name, coordinate in coordinates.items():
        pairs = [coordinate.of(np.asarray(one.params[name]), np.asarray(one.stderr[name])) for one in fits]
        y, error = (np.stack(values) for values in zip(*pairs, strict=True))
        weight = _weights(components, name, error, rises, times)
        value, stderr[name] = coordinate.value(*_mean(y, np.where(used, weight, 0.0), used))
        raw = np.stack([np.asarray(one.params[name], np.float64) for one in fits])
        params[name] = np.where(np.isfinite(value), value, _mean(raw, np.zeros(raw.shape), used)[0])
    found = CombinedCategories({}, np.full(used.shape[1], Category.NONE, np.uint8))
    if event is not None and chances is not None:
        time = params[event], stderr[event]
        found = combined_categories(chances, time, coordinates[event], window, _freedom(fits, used))
    status = _status(np.stack([np.asarray(one.status) for one in fits]), used, stderr)
    fitted = kinds != TokenKind.NO_FIT
    return CombinedTokens(params, stderr, status, found.category, found.probabilities, used, fitted)


def _freedom(fits: Sequence[FittedTokens], used) -> Float[np.ndarray, " tokens"]:
    """Degrees of freedom of the combined errors: the sum over the runs that are used; many where runs do not say."""
    given = [getattr(one, "degrees_of_freedom", None) for one in fits]
    each = [np.full(used.shape[1], _MANY) if one is None else np.asarray(one, np.float64) for one in given]
    return np.maximum(np.sum(np.where(used, np.stack(each), 0), axis=0), 1)


def combined_statistic(
    name: str,
    values: Float[np.ndarray, "runs tokens"],
    combined: CombinedTokens,
    num_points: Float[np.ndarray, "runs tokens"],
) -> Float[np.ndarray, " tokens"]:
    """Any other array of a fit store, for tokens combined from several runs.

    ``constant`` is the mean over all measured points of all runs. ``rss`` and numbers of points are sums over the runs
    that were used, of tokens without a fit over all. Whole numbers below 256 (the probability of a second event) are
    means over the runs with a fit, all others over the runs that were used.

    Args:
        name: of the array.
        values: of every run.
        combined: of `combine_runs`.
        num_points: of every run.
    """
    small, whole = values.dtype == np.uint8, values.dtype.kind in "iu"
    used = combined.fitted if small else combined.used
    used = np.where(used.any(axis=0), used, True)
    values = values.astype(np.float64)
    if name in _ADDED:
        return np.sum(np.where(used, values, 0), axis=0)
    weight = np.maximum(num_points, 0) if name == "constant" else used
    weight = np.where(np.isfinite(values), weight, 0).astype(np.float64)
    mean, _ = _mean(values, weight, used)
    return np.rint(mean) if whole else mean


def _status(status, used, stderr) -> UInt8[np.ndarray, " tokens"]:
    at_bound = status == Status.AT_BOUND
    worst = np.max(np.where(used & ~at_bound, status, Status.CONVERGED), axis=0)
    lacking = ~np.isfinite(sum(stderr.values())) & np.any(used & at_bound, axis=0)
    ended = np.where(lacking, Status.AT_BOUND, worst)
    return np.where(used.any(axis=0), ended, np.min(status, axis=0)).astype(np.uint8)


def _mean_times(fits: Sequence[FittedTokens], coordinate: Coordinate, event: str, used) -> Float[np.ndarray, " tokens"]:
    """When a token is learned, the plain mean of the runs that are used; what weighs them must not favour one."""
    values = [np.asarray(one.params[event], np.float64) for one in fits]
    y = np.stack([coordinate.of(value, np.ones(value.shape))[0] for value in values])
    mean, _ = _mean(y, np.zeros(y.shape), used)
    return coordinate.value(mean, np.ones(mean.shape))[0]


def _weights(components: RunComponents, name: str, error, rises, times) -> Float[np.ndarray, "runs tokens"]:
    """One over the variance between runs of each value; 0 where there is no error."""

    def variance(events: Events):
        component = components.find(name, events)
        return np.square(error) if component is None else component.variance(error, times)

    between = variance("all") if times is None else np.where(rises, variance("rising"), variance("falling"))
    known = np.isfinite(between) & (between > 0)
    return np.where(known, 1 / np.where(known, between, 1), 0)


def _mean(y, weight, used) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"]]:
    """Weighted mean and its error; the plain mean of what is used without any weight."""
    weight = np.where(np.isfinite(y), weight, 0)
    total = weight.sum(axis=0)
    plain = (used & np.isfinite(y)).astype(np.float64)
    both = np.where(total > 0, weight, plain)
    number = both.sum(axis=0)
    mean = np.sum(both * np.where(both > 0, y, 0), axis=0) / np.where(number > 0, number, 1)
    error = np.where(total > 0, 1 / np.sqrt(np.where(total > 0, total, 1)), np.nan)
    return np.where(number > 0, mean, np.nan), error
