"""Fits of the same tokens in several runs as one fit a token: weighted means, categories by majority."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..fitting import Category, Status
from .component import Events
from .components import RunComponents
from .coordinates import Coordinate
from .tokens import FittedTokens, TokenKind, kinds_of

_EVENTS = (TokenKind.FALLS, TokenKind.RISES, TokenKind.EARLY, TokenKind.LATE)
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
        category: by majority, see `combine_runs`.
        used: (runs, tokens) whose fits were used.
        fitted: (runs, tokens) whether there is a fit.
    """

    params: dict[str, Float[np.ndarray, " tokens"]]
    stderr: dict[str, Float[np.ndarray, " tokens"]]
    status: UInt8[np.ndarray, " tokens"]
    category: UInt8[np.ndarray, " tokens"]
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

    A token has an event if at least half of the runs that fitted it found one: a test at the level of 1% that half of
    the runs pass is no accident. Runs whose event falls, or rises, as in most of them (where they are as many, as the
    sum of their drops) are used: ``y = Σ w_r y_r / Σ w_r`` in the coordinate of the comparison, ``w_r = 1 / (factor ·
    s_r² + additive)``, with the error ``1 / sqrt(Σ w_r)``. Its category follows from the combined time and the window.
    Of a token without an event the runs that found none are used. A run without an error of a parameter counts for it
    only if none has one: then y is the plain mean, and its error NaN. Likewise where a logarithm has no place.

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
    used, rises = _used(kinds, drops, event is not None)
    params, stderr = {}, {}
    for name, coordinate in coordinates.items():
        pairs = [coordinate.of(np.asarray(one.params[name]), np.asarray(one.stderr[name])) for one in fits]
        y, error = (np.stack(values) for values in zip(*pairs, strict=True))
        weight = _weights(components, name, error, rises, event is not None)
        value, stderr[name] = coordinate.value(*_mean(y, np.where(used, weight, 0.0), used))
        raw = np.stack([np.asarray(one.params[name], np.float64) for one in fits])
        params[name] = np.where(np.isfinite(value), value, _mean(raw, np.zeros(raw.shape), used)[0])
    any_used, category = used.any(axis=0), np.full(used.shape[1], Category.NONE)
    if event is not None:
        ends = [params[event] < window[0], params[event] > window[1]]
        lies = np.select(ends, [Category.EARLY, Category.LATE], Category.LEARNED)
        has_event = (np.isin(kinds, _EVENTS) & used).any(axis=0)
        category = np.select([has_event, any_used], [lies, Category.UNLEARNED], category)
    status = _status(np.stack([np.asarray(one.status) for one in fits]), used, stderr)
    return CombinedTokens(params, stderr, status, category.astype(np.uint8), used, kinds != TokenKind.NO_FIT)


def combined_statistic(
    name: str,
    values: Float[np.ndarray, "runs tokens"],
    combined: CombinedTokens,
    num_points: Float[np.ndarray, "runs tokens"],
) -> Float[np.ndarray, " tokens"]:
    """Any other array of a fit store, for tokens combined from several runs.

    ``constant`` is the mean over all measured points of all runs. ``rss`` and numbers of points are sums over the runs
    that were used, of tokens without a fit over all. Whole numbers below 256 (probabilities of categories) are means
    over the runs with a fit, all others over the runs that were used.

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


def _used(kinds, drops, has_events: bool) -> tuple[Bool[np.ndarray, "runs tokens"], Bool[np.ndarray, " tokens"]]:
    """Which runs are used, and whether the loss rises there."""
    if not has_events:
        return kinds == TokenKind.FITTED, np.zeros(kinds.shape[1], bool)
    event, none = np.isin(kinds, _EVENTS), kinds == TokenKind.UNLEARNED
    has_event = (event.sum(axis=0) >= none.sum(axis=0)) & event.any(axis=0)
    chosen = np.where(has_event, event, none)
    up, down = (np.sum(chosen & side, axis=0) for side in (drops < 0, drops >= 0))
    rises = np.where(up == down, np.sum(np.where(chosen, drops, 0), axis=0) < 0, up > down)
    return chosen & ((drops < 0) == rises), rises


def _status(status, used, stderr) -> UInt8[np.ndarray, " tokens"]:
    at_bound = status == Status.AT_BOUND
    worst = np.max(np.where(used & ~at_bound, status, Status.CONVERGED), axis=0)
    lacking = ~np.isfinite(sum(stderr.values())) & np.any(used & at_bound, axis=0)
    ended = np.where(lacking, Status.AT_BOUND, worst)
    return np.where(used.any(axis=0), ended, np.min(status, axis=0)).astype(np.uint8)


def _weights(components: RunComponents, name: str, error, rises, has_events: bool) -> Float[np.ndarray, "runs tokens"]:
    """One over the variance between runs of each value; 0 where there is no error."""

    def variance(events: Events):
        component = components.find(name, events)
        return np.square(error) if component is None else component.variance(error)

    between = np.where(rises, variance("rising"), variance("falling")) if has_events else variance("all")
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
