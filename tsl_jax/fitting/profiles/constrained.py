"""One parameter held at a value: the best plateaus for theta and theta's normal equations, as in `projection`."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...curves import Family
from ..xla.projection import (
    Rooted,
    best_plateaus,
    dot,
    positive,
    shape_and_slopes,
    unit_vectors,
    without_plateaus,
)

Curves = Float[Array, " curves"]
#: Relative deviation from a straight line that is rounding.
_ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True)
class Profiled:
    """How a named parameter is profiled.

    Attributes:
        name: of the parameter.
        component: the one component of theta that it depends on; None for a parameter of the plateaus, which is
            ``base(theta) + by_offset(theta)·offset + by_amplitude(theta)·amplitude``.
        by_amplitude: whether it depends on the amplitude; then the amplitude follows from it and the offset is free,
            else the offset follows and the plateau where the shape is 1 is free.
        steady: whether it depends on the plateaus alone, not on theta.
    """

    name: str
    component: int | None
    by_amplitude: bool
    steady: bool


def profiled_parameter(family: Family, name: str) -> Profiled:
    """How ``name`` is held, by probing `Family.named` at two places.

    Raises:
        ValueError: there is no such parameter, or it is neither a function of one component of theta nor linear in the
            plateaus.
    """
    if name not in family.names:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(family.names)}")
    with jax.ensure_compile_time_eval():
        lower, upper = (np.asarray(bound, np.float64) for bound in family.bounds(jnp.linspace(0.1, 1.0, 32)))
        window = jnp.asarray(0.2, jnp.float32), jnp.asarray(1.5, jnp.float32)

        def value(p):
            return family.named(p[0], p[1], p[2:], window)[name]

        probes = [
            jnp.asarray([1.5, 2.5, *(lower + fraction * (upper - lower))], jnp.float32) for fraction in (0.3, 0.4)
        ]
        slopes = np.abs([np.asarray(jax.grad(value)(p)) for p in probes])
        along = jnp.asarray([1.0, 1.0, *np.zeros(len(lower))], jnp.float32)
        bend = [abs(float(value(p + along) - 2 * value(p) + value(p - along))) for p in probes]
        size = [abs(float(value(p))) + 1e-6 for p in probes]
    depends = np.any(slopes > 0, axis=0)
    components = np.flatnonzero(depends[2:])
    of_plateaus = bool(np.any(depends[:2]))
    linear = max(b / s for b, s in zip(bend, size, strict=True)) < _ROUNDING
    if not linear or (not of_plateaus and len(components) != 1):
        raise ValueError(
            f"name: {name!r} of family {family.name!r} is neither a function of one component of theta nor linear in "
            "the plateaus, as a profile interval needs; take Fit.interval, which follows from the standard error"
        )
    return Profiled(name, None if of_plateaus else int(components[0]), bool(depends[1]), not components.size)


class Trial(NamedTuple):
    """Theta and plateaus with the parameter at its value, and the normal equations of theta's free components."""

    theta: Float[Array, "theta curves"]
    low: Curves
    high: Curves
    rss: Curves  # infinite where the bounds leave no plateaus
    normal: Float[Array, "theta theta curves"]
    negative_half_gradient: Float[Array, "theta curves"]


def project_constrained(family: Family, profiled: Profiled, window, block: Rooted, value, theta, low, high) -> Trial:
    """`projection.project` with one parameter held: at ``value``, theta's own unit for one of theta's components.

    Args:
        window: of the standardised coordinate.
        value: (curves,) of the parameter.
        theta: (theta, curves); a component that is held is overwritten.
        low, high: (curves,) plateaus to start from, for precision.
    """
    if profiled.component is not None:
        return _at_component(family, profiled.component, block, value, theta, low, high)
    return _at_plateaus(family, profiled, window, block, value, theta, low, high)


def _at_component(family: Family, component: int, block: Rooted, value, theta, low, high) -> Trial:
    theta = theta.at[component].set(value)
    f, e, slopes = shape_and_slopes(family, block.x, theta, unit_vectors(theta))
    e, f = block.root * e, block.root * f
    products, (d_low, d_high, *active) = best_plateaus(block, e, f, low, high)
    low = jnp.clip(low + d_low, block.least, block.most)
    high = jnp.clip(high + d_high, block.least, block.most)
    r = block.loss - (low * e + high * f)
    project_out = without_plateaus(products, active, e, f)
    columns: list = [
        None if k == component else project_out((high - low) * block.root * slope) for k, slope in enumerate(slopes)
    ]
    return Trial(theta, low, high, dot(r, r), *_equations(columns, r))


def _at_plateaus(family: Family, profiled: Profiled, window, block: Rooted, value, theta, low, high) -> Trial:
    f, e, slopes = shape_and_slopes(family, block.x, theta, unit_vectors(theta))
    e, f = block.root * e, block.root * f

    def line(theta):
        """The plateaus as ``start + free·direction``, each (low, high)."""

        def named(offset, amplitude):
            like = jnp.zeros_like(theta[0])
            return family.named(like + offset, like + amplitude, theta, window)[profiled.name]

        base = named(0, 0)
        zero, one = jnp.zeros_like(base), jnp.ones_like(base)
        if not profiled.by_amplitude:
            return ((value - base) / (named(1, 0) - base), zero), (zero, one)
        unit = named(0, 1) - base
        return (zero, (value - base) / unit), (one, 1 - (named(1, 0) - base) / unit)

    start, direction = line(theta)
    least, most, feasible = _room(start, direction, block)
    column = direction[0] * e + direction[1] * f
    free = jnp.clip(low if profiled.by_amplitude else high, least, most)
    r = block.loss - ((start[0] + free * direction[0]) * e + (start[1] + free * direction[1]) * f)
    square = positive(dot(column, column), dot(e, e) + dot(f, f))
    moved = jnp.clip(free + dot(column, r) / square, least, most)
    on_bound = (moved <= least) | (moved >= most)
    r = r - (moved - free) * column
    low, high = (start[i] + moved * direction[i] for i in (0, 1))
    columns = []
    for k, slope in enumerate(slopes):
        g = (high - low) * block.root * slope
        if not profiled.steady:
            moves = jax.jvp(line, (theta,), (unit_vectors(theta)[k],))[1]
            g = g + sum((moves[0][i] + moved * moves[1][i]) * c for i, c in ((0, e), (1, f)))
        columns.append(g - jnp.where(on_bound, 0, dot(column, g)) / square * column)
    rss = jnp.where(feasible, dot(r, r), jnp.inf)
    return Trial(theta, low, high, jnp.where(jnp.isfinite(rss), rss, jnp.inf), *_equations(columns, r))


def _room(start, direction, block: Rooted):
    """The interval in which the free plateau keeps both within their bounds, and whether there is one."""
    least, most = jnp.full_like(start[0], -jnp.inf), jnp.full_like(start[0], jnp.inf)
    feasible = jnp.ones_like(start[0], bool)
    slack = jnp.finfo(start[0].dtype).eps * 4 * (jnp.abs(block.least) + jnp.abs(block.most))
    for at, along in zip(start, direction, strict=True):
        follows = jnp.abs(along) > 1e-6
        safe = jnp.where(follows, along, 1)
        ends = (block.least - at) / safe, (block.most - at) / safe
        least = jnp.where(follows, jnp.maximum(least, jnp.minimum(*ends)), least)
        most = jnp.where(follows, jnp.minimum(most, jnp.maximum(*ends)), most)
        feasible &= follows | ((at >= block.least - slack) & (at <= block.most + slack))
    return least, jnp.maximum(most, least), feasible & (least <= most + slack)


def _equations(columns, r):
    """``J^T J`` and ``J^T r``; rows of a column that is None are 0."""
    size = len(columns)
    zero = jnp.zeros_like(r[0])
    products = {
        (i, j): zero if columns[i] is None or columns[j] is None else dot(columns[i], columns[j])
        for i in range(size)
        for j in range(i, size)
    }
    normal = jnp.stack([jnp.stack([products[min(i, j), max(i, j)] for j in range(size)]) for i in range(size)])
    return normal, jnp.stack([zero if g is None else dot(g, r) for g in columns])
