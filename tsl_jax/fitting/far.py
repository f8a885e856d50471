"""Windows far from 0: event times in two parts where one number of the fits' type cannot tell checkpoints apart.

The engine works in the window's own unit, where nothing is lost; an event's time in axis units is not one float32 at
checkpoints like 2^24 + k. There it is ``high + low``, the second what the first lacks. Where nothing is traced the two
are added in NumPy's float64.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..arguments import is_traced
from ..curves import Family
from ..curves.parts import Parts, is_narrow


def is_far(family: Family, axis: Any, dtype: Any) -> bool:
    """Whether event times of fits over these checkpoints are in two parts.

    Args:
        family: what is fitted; only families that know where their event is (`Family.event_at`) have such times.
        axis: (checkpoints,) as used; a traced one is of ``dtype`` itself, and nothing is known of it.
        dtype: of the fits.
    """
    if family.event is None or is_traced(axis) or np.dtype(dtype) != np.float32 or not _knows_event(family):
        return False
    return is_narrow(axis)


def _knows_event(family: Family) -> bool:
    return type(family).event_at is not Family.event_at


def event_parts(family: Family, theta: Any, first: Parts, unit: Any) -> Parts:
    """The time of an event, in axis units.

    Args:
        theta: (theta, \\*curves) of the fits.
        first: of the window, in axis units.
        unit: of the window, in that of the fitted coordinate.
    """
    offset = unit * family.event_at(theta)
    if family.scale == "log":
        offset = first.high * jnp.expm1(offset)
    # Knuth's exact sum of two.
    offset = first.low + offset
    high = first.high + offset
    part = high - first.high
    return Parts(high, (first.high - (high - part)) + (offset - part))


def split_event(family: Family, params: dict[str, Any], low: Any = None) -> tuple[dict[str, Any], Any]:
    """Named parameters with the event's time in their own type, and what that lacks; None where it lacks nothing.

    Args:
        params: by name; an event's time that is wider than the others is rounded to their type.
        low: what it lacks if it is not.
    """
    kinds = {name: np.dtype(getattr(value, "dtype", type(value))) for name, value in params.items()}
    if family.event is None or not _knows_event(family) or kinds[family.event] != np.float64:
        return params, low
    if all(kind == np.float64 for kind in kinds.values()):
        return params, None
    high = params[family.event].astype(np.float32)
    return params | {family.event: high}, (params[family.event] - high).astype(np.float32)


def with_whole_times(fit: Any) -> Any:
    """A fit whose event times, if they are in two parts that are known here, are float64 in `Fit.params` as well."""
    low = fit.event_low
    if low is None or is_traced(low) or not low.is_fully_addressable:
        return fit
    event = fit.family.event
    return dataclasses.replace(fit, params=fit.params | {event: joined(fit.params[event], low)})


def joined(high: Any, low: Any) -> np.ndarray:
    """Numbers in two parts, known here, as float64."""
    return np.asarray(high, np.float64) + np.asarray(low, np.float64)


def axis_value(family: Family, x: Any, axis: np.ndarray) -> Any:
    """Places in the window's own unit as axis values: in float64 where they are known here."""
    origin, unit = family.window(family.coordinate(axis))
    xp = jnp if is_traced(x) else np
    place = origin + unit * (x if is_traced(x) else np.asarray(x, np.float64))
    return xp.exp(place) if family.scale == "log" else place
