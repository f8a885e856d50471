"""`tsl.fit`: many curves at once, whatever their shape, gaps, weights and precision."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..curves import Family
from ..curves.parts import in_parts
from ..jax_switches import with_own_switches
from .checks import check_input, check_noise
from .far import event_parts, is_far, with_whole_times
from .few_sizes import FEWEST, MOST, device_of, in_few_sizes
from .measures import Measures, measure, residuals
from .native.call import with_chosen_kernel
from .noise import NoiseModel, assumed_noise
from .options import FitOptions
from .result import Category, Fit, Status, has_parameters
from .robust import huber_weights, solve_robust
from .scaling import Units, loss_scale, sizes_of
from .solution import Solution, solve
from .statistics import Scatter, beyond_bounds, categorise, evidence_of, named_and_errors, probabilities_of, scatter_of
from .xla.kernel import tile_size
from .xla.projection import Block

#: Plateaus stay within this multiple of a curve's largest loss: of an event far outside the window only an exponential
#: tail is seen, whose plateau could be anything, up to values that float32 parameters cannot express.
PLATEAU_REACH = 1000.0


@with_own_switches
def fit(
    family: Family,
    time: Float[Array, " checkpoints"],
    losses: Float[Array, "*curves checkpoints"],
    weights: Float[Array, "*curves checkpoints"] | None = None,
    *,
    options: FitOptions = FitOptions(),
    noise: NoiseModel | None = None,
) -> Fit:
    """Fit ``offset + amplitude·shape`` to every trajectory: least squares over all parameters of the family.

    Per curve: the best of a grid of templates (one matrix product), then Levenberg-Marquardt on the shape's
    parameters with the two plateaus eliminated (variable projection, Golub and Pereyra 1973, within their bounds).
    Pure: works under `jit` (where it builds and loads nothing: see `load_kernel`), `vmap` and `shard_map` (which fits
    rows where they lie; under `jit` alone each device fits all rows of a sharded array); differentiable in `losses` and
    `weights` by the implicit function theorem (with `huber_threshold`: of the last re-weighted fit, its weights held).
    No curve affects another, and none raises: see `Fit.status`.

    Args:
        family: what to fit, such as ``Sigmoid()``.
        time: (checkpoints,) axis values, increasing: steps, tokens, positions, ... For a family on a log scale a
            checkpoint at 0 is left out. A traced axis is not checked, and must be positive on a log scale.
        losses: (\\*curves, checkpoints) in nat, any floating dtype; NaN = not measured. float16 and bfloat16 are
            computed in float32, float64 in float64 where JAX has it on.
        weights: (\\*curves, checkpoints) or (checkpoints,), relative inverse variances; 0 or NaN = ignore the point.
        options: see `FitOptions`.
        noise: what many curves show of the noise (`tsl_jax.noise_model`), for these checkpoints; each curve's own
            noise is estimated with it. None (default): from the curve's own residuals alone, which is rough with few
            checkpoints.

    Returns:
        `Fit`, its arrays of shape (\\*curves).

    Raises:
        TypeError: losses or time are not real floating-point numbers, or the family or options are of another type.
        ValueError: shapes disagree, the axis does not increase or is negative on a log scale, there are fewer
            checkpoints than parameters + 1, or the noise model is for other checkpoints.

    Warns:
        UserWarning: most losses are negative, as log-probabilities are, where plateaus may not be.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.array([[30.0], [100.0]])) ** 2)
        >>> tsl.fit(tsl.Sigmoid(scale="log"), step, losses).params["learning_time"].round(2).tolist()
        [30.0, 100.0]

    Source: laws of arXiv 2606.29858, 2404.17785 and 2602.03685; see the families.
    """
    device = device_of(losses)
    axis_values, losses, weights = check_input(family, time, losses, weights, options)
    dtype = jnp.promote_types(losses.dtype, jnp.float32)
    options = with_chosen_kernel(family, options, dtype)
    u = family.coordinate(axis_values)
    window = family.window(u)
    x = jnp.asarray((u - window[0]) / window[1], dtype)  # before rounding: a window may lie far from 0
    check_noise(options, noise, axis_values)
    axis = (
        x,
        tuple(jnp.asarray(a, dtype) for a in window),
        jnp.asarray(axis_values[np.array([0, -1])], dtype),
        assumed_noise(options.noise, noise, len(x), dtype),
        in_parts(axis_values[0]) if is_far(family, axis_values, dtype) else None,
    )
    found = in_few_sizes(
        functools.partial(fit_rows, family, options, axis),
        flat_rows(losses, weights),
        shape=losses.shape[:-1],
        multiple=row_multiple(family, options, dtype, len(x)),
        most=most_rows(options, len(x)),
        device=device,
    )
    return with_whole_times(found)


def flat_rows(losses, weights) -> list[Any]:
    """(curves, checkpoints) arrays of losses and, if there are some, weights."""
    flat = int(np.prod(losses.shape[:-1])), losses.shape[-1]
    if weights is None:
        return [losses.reshape(flat)]
    xp = np if isinstance(weights, np.ndarray) else jnp
    return [losses.reshape(flat), xp.broadcast_to(weights, losses.shape).reshape(flat)]


def most_rows(options: FitOptions, num_checkpoints: int) -> int:
    """Curves of one call of `fit_rows` at most, whole blocks of them."""
    block = options.block_size or default_block_size(num_checkpoints)
    return -(-MOST // block) * block


def row_multiple(family: Family, options: FitOptions, dtype, num_checkpoints: int) -> int:
    """What many curves are padded to a multiple of: tiles of XLA's kernel; the native one works without."""
    tile = tile_size(num_checkpoints)
    return tile if with_chosen_kernel(family, options, dtype).kernel == "xla" else min(tile, FEWEST)


@functools.partial(jax.jit, static_argnums=(0, 1))
def fit_rows(family: Family, options: FitOptions, axis, *rows) -> Fit:
    """Fit (curves, checkpoints) arrays, block by block; compiled once for each shape: see `few_sizes`."""
    number, num_checkpoints = rows[0].shape
    most = options.block_size or default_block_size(num_checkpoints)
    blocks = max(1, -(-number // most))
    size = max(1, -(-number // blocks))  # balanced, so that the last block is not mostly padding
    tile = row_multiple(family, options, jnp.promote_types(rows[0].dtype, jnp.float32), num_checkpoints)
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


def best(family: Family, options: FitOptions, block: Block) -> tuple[Solution, Block, Any]:
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
    status = jnp.where(usable & jnp.any(solution.held, axis=0), Status.AT_BOUND, status)
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


def prepare(family: Family, options: FitOptions, x, losses, weights):
    """A checkpoint-major block with gaps at weight 0, the units of each curve's weights and losses (so that no product
    leaves the range of float32), the number of points, and who cannot be fitted and why.

    All of it works along the rows as they come; each pass over their transpose would go through memory in strides.
    """
    dtype = x.dtype
    losses = losses.astype(dtype)
    weight = jnp.ones_like(losses) if weights is None else weights.astype(dtype)
    missing = jnp.isnan(losses) | jnp.isnan(weight) | (weight == 0)
    broken = jnp.any(~missing & (jnp.isinf(losses) | jnp.isinf(weight) | (weight < 0)), axis=1)
    measured = ~missing & ~broken[:, None]
    largest = jnp.max(jnp.where(measured, losses, -jnp.inf), axis=1)
    smallest = jnp.min(jnp.where(measured, losses, jnp.inf), axis=1)
    scale = loss_scale(largest, smallest, options.min_plateau or 0.0)
    loss, weight = jnp.where(measured, losses * scale[:, None], 0), jnp.where(measured, weight, 0)
    largest, smallest = largest * scale, smallest * scale
    num_points = jnp.sum(measured, axis=1, dtype=jnp.int32)
    unit = jnp.ones_like(weight[:, 0])
    if weights is not None:
        unit = lax.stop_gradient(jnp.max(weight, axis=1))
        unit = jnp.where(unit > 0, unit, 1)
        weight = weight / unit[:, None]

    first = jnp.take_along_axis(loss, jnp.argmax(measured, axis=1)[:, None], axis=1)[:, 0]
    status = jnp.where(largest - smallest <= 2 * jnp.finfo(dtype).eps * jnp.abs(largest), Status.FLAT, Status.CONVERGED)
    status = jnp.where(num_points < len(family.names) + 1, Status.TOO_FEW_POINTS, status)
    status = jnp.where(broken, Status.NON_FINITE, status)

    # Curves that cannot be fitted still occupy their lane: give them a weightless constant, which converges at once.
    usable = status == Status.CONVERGED
    reach = jnp.where(usable, PLATEAU_REACH * jnp.maximum(jnp.abs(largest), jnp.abs(smallest)), 1)
    least = -reach if options.min_plateau is None else options.min_plateau * scale
    most = reach if options.max_plateau_ratio is None else jnp.minimum(reach, options.max_plateau_ratio * first)
    most = jnp.maximum(most, least)
    return Block(x, loss.T, weight.T, least, most), Units(unit, scale), num_points, status
