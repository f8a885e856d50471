"""How far a parameter may go, in the unit in which it is held, and how far its standard error lets it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...curves import Family
from ..measures import Measures
from ..options import FitOptions
from ..solution import Solution
from ..xla.projection import CurveBlock
from .constrained import Curves, Profiled
from .walk import Place

#: Where the fit gives no error, the first place of a walk lies this fraction of the parameter's range from it.
_FIRST = 0.1
#: A parameter whose bounds depend on theta is followed up to this multiple of its value.
_FARTHEST = 1e6
#: A plateau beyond this fraction of the engine's own bound could be anything: so far out float32 resolves nothing.
_REACH = 0.5


def profiled_errors(family: Family, profiled: Profiled, window, measures: Measures, solution: Solution):
    """The parameter's value, its variance for independent noise of variance 1, and the sandwich's variance over that.

    Where the fit does not determine the parameter there is neither; the noise then counts as it does for a mean.
    """
    p = solution.coefficients
    factor = jnp.nan_to_num(measures.factor)
    if profiled.component is not None:
        estimate, along = p[2 + profiled.component], factor[2 + profiled.component]
    else:

        def value(p):
            return family.named(p[0], p[1] - p[0], p[2:], window)[profiled.name]

        estimate, along = value(p), jnp.zeros_like(factor[0])
        for i in range(len(p)):
            slope = jax.jvp(value, (p,), (jnp.zeros_like(p).at[i].set(1),))[1]
            along = along + jnp.where(solution.active[i], 0, slope) * factor[i]
    naive = jnp.sum(jnp.square(along), axis=0)
    sandwich = jnp.einsum("ac,abc,bc->c", along, measures.meat, along)
    known = (naive > 0) & jnp.isfinite(naive) & (sandwich > 0)
    ratio = jnp.where(known, sandwich / jnp.where(known, naive, 1), jnp.maximum(measures.long_run, 1))
    return estimate, jnp.where(known, naive, 0), ratio


class ProfileLimits(NamedTuple):
    """Between what a parameter may lie, in the unit in which it is profiled."""

    lower: Curves
    upper: Curves
    beyond: tuple[Curves, Curves]  # the ends of an interval that reaches them, in the parameter's own unit
    width: Curves  # of a first look where the fit gives none


def limits_of(
    family: Family,
    profiled: Profiled,
    window,
    options: FitOptions,
    block: CurveBlock,
    solution: Solution,
    estimate,
    in_windows,
):
    """Theta's bounds are the engine's: beyond them anything is possible. Those of the plateaus are what options say."""
    like = jnp.zeros_like(estimate)
    if profiled.component is not None:
        lower, upper = (like + bound[profiled.component].astype(like.dtype) for bound in family.bounds(block.x))
        beyond = [
            in_own_unit(family, profiled, window, solution, like + end, in_windows) for end in (-jnp.inf, jnp.inf)
        ]
        return ProfileLimits(lower, upper, (beyond[0], beyond[1]), _FIRST * (upper - lower))
    measured = block.weight > 0
    loss_range = jnp.max(jnp.where(measured, block.loss, -jnp.inf), axis=0)
    loss_range = loss_range - jnp.min(jnp.where(measured, block.loss, jnp.inf), axis=0)
    loss_range = jnp.where(jnp.isfinite(loss_range) & (loss_range > 0), loss_range, 1)
    if not profiled.steady:
        wide = jnp.maximum(jnp.abs(estimate), jnp.finfo(like.dtype).tiny)
        return ProfileLimits(
            estimate - _FARTHEST * wide, estimate + _FARTHEST * wide, (like - jnp.inf, like + jnp.inf), _FIRST * wide
        )

    def corners(least, most):
        ends = (least, least), (least, most), (most, least), (most, most)
        return jnp.stack([family.named(a, b - a, solution.coefficients[2:], window)[profiled.name] for a, b in ends])

    inner = corners(block.least, block.most)
    least = block.least if options.min_plateau is not None else like - jnp.inf
    most = block.most if options.max_plateau_ratio is not None else like + jnp.inf
    outer = corners(least, most)  # NaN where infinities cancel
    beyond = (
        jnp.min(jnp.where(jnp.isnan(outer), jnp.inf, outer), axis=0),
        jnp.max(jnp.where(jnp.isnan(outer), -jnp.inf, outer), axis=0),
    )
    return ProfileLimits(jnp.min(inner, axis=0), jnp.max(inner, axis=0), beyond, _FIRST * loss_range)


def at_reach(options: FitOptions, block: CurveBlock, place: Place):
    """Whether a plateau is as far out as only the engine's own bound lets it, not one that the options set."""
    above = jnp.maximum(place.low, place.high) >= _REACH * jnp.tile(block.most, 2)
    below = jnp.minimum(place.low, place.high) <= _REACH * jnp.tile(block.least, 2)
    return (above & (options.max_plateau_ratio is None)) | (below & (options.min_plateau is None))


def in_own_unit(family: Family, profiled: Profiled, window, solution: Solution, value, in_windows):
    """The named parameter where it is held at ``value``; of an event ``in_windows`` its place in the window's unit."""
    if profiled.component is None:
        return value
    p = solution.coefficients
    if in_windows:
        return family.event_at(p[2:].at[profiled.component].set(value))
    return family.named(p[0], p[1] - p[0], p[2:].at[profiled.component].set(value), window)[profiled.name]
