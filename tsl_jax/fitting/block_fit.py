"""The fit of a block of curves: found, measured, and described in the units of its losses."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..curves import Family
from .codes import Category, Status, has_parameters
from .far import event_parts
from .few_sizes import FEWEST
from .kernel_choice import with_chosen_kernel
from .measures import Measures, measure, residuals
from .options import FitOptions
from .preparation import prepare
from .result import Fit
from .robust import huber_weights, solve_robust
from .scaling import Units, sizes_of
from .sharded import where_rows_lie
from .solution import Solution, solve
from .statistics import Scatter, beyond_bounds, categorise, evidence_of, named_and_errors, probabilities_of, scatter_of
from .xla.kernel import tile_size
from .xla.projection import CurveBlock


def row_multiple(family: Family, options: FitOptions, dtype, num_checkpoints: int) -> int:
    """What many curves are padded to a multiple of: tiles of XLA's kernel; the native one works without."""
    return _multiple(with_chosen_kernel(family, options, dtype), num_checkpoints)


def _multiple(options: FitOptions, num_checkpoints: int) -> int:
    tile = tile_size(num_checkpoints)
    return tile if options.kernel == "xla" else min(tile, FEWEST)


@functools.partial(jax.jit, static_argnums=(0, 1))
def fit_rows(family: Family, options: FitOptions, axis, *rows) -> Fit:
    """Fit (curves, checkpoints) arrays where they lie, in blocks, by a kernel that was chosen; for each shape it is
    compiled once: see `few_sizes`."""
    return where_rows_lie(functools.partial(_fit_rows, family, options))(axis, *rows)


def _fit_rows(family: Family, options: FitOptions, axis, *rows) -> Fit:
    number, num_checkpoints = rows[0].shape
    most = options.block_size or default_block_size(num_checkpoints)
    blocks = max(1, -(-number // most))
    size = max(1, -(-number // blocks))  # balanced, so that the last block is not mostly padding
    tile = _multiple(options, num_checkpoints)
    if size > tile:
        size = -(-size // tile) * tile
    padded = [
        jnp.pad(a, ((0, blocks * size - number), (0, 0)), constant_values=jnp.nan).reshape(blocks, size, -1)
        for a in rows
    ]
    result = lax.map(lambda block: fit_block(family, options, axis, *block), tuple(padded))
    return jax.tree.map(lambda a: a.reshape(blocks * size)[:number], result)


def default_block_size(num_checkpoints: int) -> int:
    """Curves a block: many tiles, so that the few curves that need more steps fill whole ones.

    On a CPU no more than that: temporaries, some ten floats a loss, then stay in its third-level cache. On a GPU as
    many as it has room for, temporaries being some dozen bytes a loss: a hundred steps pass from the last curve's first
    one until the slowest has ended.
    """
    if jax.default_backend() == "cpu":
        wanted = min(max((1 << 19) // num_checkpoints, 1 << 11), 1 << 14)
    else:
        memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 1 << 36)
        wanted = min(max(min(memory // 128, 1 << 28) // num_checkpoints, 1 << 16), 1 << 22)
    return 1 << wanted.bit_length() - 1


def fit_block(family: Family, options: FitOptions, axis, losses, weights=None) -> Fit:
    """Fit the rows of a (curves, checkpoints) array; ``axis`` is (x, window, first and last time, assumed
    noise, the first time in two parts if event times are)."""
    block, units, num_points, status = prepare(family, options, axis[0], losses, weights)
    solution, block, inflation = best(family, options, block)
    measures = measure(family, options, axis[3], block, solution)
    return describe_block(family, options, axis, solution, measures, inflation, units, num_points, status)


def best(family: Family, options: FitOptions, block: CurveBlock) -> tuple[Solution, CurveBlock, Any]:
    """The solution of a block, the block with the weights that it is for, and by how much they inflate variances."""
    if options.huber_threshold is None:
        return solve(family, options, block), block, 1.0
    solution, noise = solve_robust(family, options, options.huber_threshold, block)
    r = residuals(family, block, solution.coefficients)
    return solution, *huber_weights(options.huber_threshold, block, r, noise)


def describe_block(
    family: Family, options: FitOptions, axis, solution, measures: Measures, inflation, units: Units, num_points, status
) -> Fit:
    """Parameters, standard errors, status and category of solved curves, in the units of their losses."""
    x, window, ends, _, first = axis
    size = len(family.names)
    scatter = scatter_of(measures, size, num_points, inflation)
    lower, upper = family.bounds(x)
    beyond = beyond_bounds(measures, scatter.variance, upper - lower)
    params, stderr = named_and_errors(family, x, num_points, solution, measures, scatter.variance, beyond, window)
    sizes = sizes_of(family, solution.coefficients[2:], window, units.loss)
    params, stderr = ({name: sizes[name] * value for name, value in known.items()} for known in (params, stderr))
    event_low = None
    if first is not None and family.event is not None:
        event, event_low = event_parts(family, solution.coefficients[2:], first, window[1])
        params[family.event] = event
    rss, constant, tss = measures.rss, measures.constant / units.loss, measures.tss
    own_rss = rss * units.weight / units.loss / units.loss
    finite = jnp.all(jnp.isfinite(jnp.stack([own_rss, *params.values()])), axis=0)
    known = (num_points > 0) & (status != Status.NON_FINITE) & jnp.isfinite(constant)
    status = jnp.where((status == Status.CONVERGED) & ~finite, Status.NON_FINITE, status)
    usable = status == Status.CONVERGED
    status = jnp.where(usable & jnp.any(solution.active, axis=0), Status.AT_BOUND, status)
    status = jnp.where(usable & ~solution.converged, Status.MAX_STEPS, status).astype(jnp.uint8)

    def where_usable(values):
        return jnp.where(usable, values, jnp.nan)

    fit = Fit(
        params={name: where_usable(value) for name, value in params.items()},
        stderr={name: where_usable(value) for name, value in stderr.items()},
        rss=where_usable(own_rss),
        r2=where_usable(1 - rss / jnp.where(tss > 0, tss, 1)),
        num_points=num_points,
        status=status,
        category=jnp.full(status.shape, Category.NONE, jnp.uint8),
        constant=jnp.where(known, constant, jnp.nan),
        noise_correlation=where_usable(measures.correlation),
        effective_points=where_usable(scatter.effective_points),
        probabilities={},
        second_event=None,
        family=family,
        event_low=None if event_low is None else where_usable(event_low),
    )
    if family.event is None:
        return fit
    place = None if first is None else (family.event_at(solution.coefficients[2:]), window[1])
    return _with_categories(fit, options, measures, scatter, ends, place, inflation)


def _with_categories(
    fit: Fit, options: FitOptions, measures: Measures, scatter: Scatter, ends, place, inflation
) -> Fit:
    """The fit of a family with an event, with what the data say of it.

    Args:
        ends: of the window, in axis units.
        place: of the event in the window's unit, and that unit, if the window is far from 0.
    """
    family, usable = fit.family, has_parameters(fit.status)
    assert family.event is not None
    event = fit.params[family.event]
    evidence = evidence_of(options, len(family.names), measures, fit.num_points, inflation)
    error = fit.stderr[family.event]
    if family.scale == "log":
        event = jnp.where(event > 0, event, 1)
        error = error / event
    if place is None:
        where, edges = family.coordinate(event), family.coordinate(ends)
    else:
        where, edges, error = place[0], (0.0, 1.0), error / place[1]
    likely = probabilities_of(evidence.event, where, error, edges[0], edges[1], scatter.freedom)
    likely = {name: jnp.where(usable, value, 0) for name, value in likely.items()}
    return dataclasses.replace(
        fit,
        category=categorise(likely, usable),
        probabilities=likely,
        second_event=jnp.where(usable, evidence.second, jnp.nan),
    )
