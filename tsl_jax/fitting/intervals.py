"""Confidence intervals of named parameters, and those that follow from standard errors."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import probability
from ..curves import Family
from ..curves.parts import is_wider
from ..jax_switches import with_own_switches
from ..pytrees import pytree
from .few_sizes import each

#: Degrees of freedom for which quantiles are tabulated: even steps of their logarithm.
_FEWEST, _MOST, _NODES = 1.0, 1e6, 512


@pytree
class Interval:
    """Confidence intervals of one parameter of many curves, in the parameter's unit; NaN where there is no fit.

    Attributes:
        lower: lower ends; ``-inf``, or 0 for a parameter that is positive, where the data know none.
        upper: upper ends; ``inf`` where the data know none.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> noise = 0.1 * jnp.sin(37.0 * jnp.arange(40.0) ** 2)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, 1.0 + 6.0 / (1.0 + (step / 30.0) ** 2) + noise)
        >>> interval = fit.interval("learning_time", level=0.95)
        >>> bool(interval.lower < 30.0), bool(interval.upper > 30.0)
        (True, True)
    """

    lower: Float[Array, "*curves"]
    upper: Float[Array, "*curves"]


def check_level(level: float) -> None:
    """Raise unless a level is a probability."""
    probability("level", level)


@functools.cache
def _quantiles(level: float) -> np.ndarray:
    from scipy.special import stdtrit

    return np.log(stdtrit(np.geomspace(_FEWEST, _MOST, _NODES), (1 + level) / 2))


def t_quantile(level: float, freedom):
    """What Student's |t| stays below with probability ``level``, for any degrees of freedom from 1 on (0.1%)."""
    place = (jnp.log(jnp.maximum(freedom, _FEWEST)) - np.log(_FEWEST)) * ((_NODES - 1) / np.log(_MOST / _FEWEST))
    table = jnp.asarray(_quantiles(level), place.dtype)
    at = jnp.clip(jnp.floor(place), 0, _NODES - 2)
    fraction = jnp.clip(place - at, 0, 1)
    at = jnp.where(jnp.isfinite(at), at, 0).astype(jnp.int32)
    return jnp.exp(table[at] * (1 - fraction) + table[at + 1] * fraction)


@with_own_switches
def error_interval(family: Family, name: str, value, error, freedom, fitted, level: float = 0.9) -> Interval:
    """`Fit.interval` for arrays that come from anywhere, such as a fit store.

    ``exp(ln p ± t · error / p)`` for a parameter whose logarithm has a normal error to first order
    (`Family.log_parameters`), ``p ± t · error`` for any other, t the quantile of Student's distribution.

    Args:
        family: what was fitted.
        name: of the parameter.
        value, error: (\\*curves,) its values and standard errors.
        freedom: (\\*curves,) `Fit.degrees_of_freedom`.
        fitted: (\\*curves,) booleans: where there are parameters (`has_parameters` of the status).
        level: of confidence.

    Returns:
        `Interval`; where there is no standard error all that the parameter may be, NaN where nothing was fitted.

    Raises:
        ValueError: the family has no such parameter, or the level is no probability.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> values, errors = np.array([100.0, 200.0]), np.array([10.0, np.nan])
        >>> interval = error_interval(tsl.Sigmoid(), "learning_time", values, errors, np.array([60.0, 60.0]), True)
        >>> interval.lower.round().tolist(), interval.upper.round().tolist()
        ([85.0, 0.0], [118.0, inf])
    """
    if name not in family.names:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(family.names)}")
    check_level(level)
    logarithmic = name in family.log_parameters
    if not is_wider(value, error):
        return Interval(*each(functools.partial(_ends, logarithmic, float(level)), value, error, freedom, fitted))
    # The distances are float32's, what they are from is not; a time on a log scale is above 0.
    distances = each(functools.partial(_distances, logarithmic, float(level)), value, error, freedom, fitted)
    ends: Any = (np.asarray(value) + np.asarray(distance, np.float64) for distance in distances)
    return Interval(*(np.maximum(end, 0) if logarithmic else end for end in ends))


def _distances(logarithmic: bool, level: float, value, error, freedom, fitted):
    """How far the ends are from values that are above 0 or not `logarithmic`."""
    error, freedom = jnp.asarray(error), jnp.asarray(freedom)
    value = jnp.asarray(value, error.dtype)
    known = fitted & jnp.isfinite(value) & jnp.isfinite(error)
    half = t_quantile(level, freedom) * jnp.where(known, error, 1)
    size = jnp.where(known, value, 1)
    return tuple(
        jnp.where(
            known,
            size * jnp.expm1(sign * half / size) if logarithmic else sign * half,
            jnp.where(fitted, sign * jnp.inf, jnp.nan),
        )
        for sign in (-1, 1)
    )


def _ends(logarithmic: bool, level: float, value, error, freedom, fitted):
    value, error, freedom = (jnp.asarray(a) for a in (value, error, freedom))
    known = fitted & jnp.isfinite(value) & jnp.isfinite(error) & ((value != 0) if logarithmic else True)
    half = t_quantile(level, freedom) * jnp.where(known, error, 1)
    if logarithmic:
        safe = jnp.where(known, value, 1)
        ratio = jnp.exp(half / jnp.abs(safe))
        ends = jnp.where(safe > 0, safe / ratio, safe * ratio), jnp.where(safe > 0, safe * ratio, safe / ratio)
        nothing = jnp.where(value < 0, -jnp.inf, 0.0), jnp.where(value < 0, 0.0, jnp.inf)
    else:
        ends = value - half, value + half
        nothing = -jnp.inf, jnp.inf
    return tuple(
        jnp.where(known, end, jnp.where(fitted, unknown, jnp.nan)).astype(value.dtype)
        for end, unknown in zip(ends, nothing, strict=True)
    )
