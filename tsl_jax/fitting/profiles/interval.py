"""`tsl.profile_interval`: how far a parameter can go while the other parameters make the best of it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...curves import Family
from ...jax_switches import with_own_switches
from ..block_fit import best
from ..checks import check_input, check_noise
from ..codes import Status
from ..far import axis_value, is_far
from ..few_sizes import device_of, in_few_sizes
from ..interface import flat_rows
from ..intervals import Interval, check_level, t_quantile
from ..kernel_choice import with_chosen_kernel
from ..measures import measure
from ..noise import NoiseModel, assumed_noise
from ..options import FitOptions
from ..preparation import prepare
from ..scaling import sizes_of
from ..statistics import evidence_of, scatter_of
from ..xla.kernel import tile_size
from .bounds import at_reach, in_own_unit, limits_of, profiled_errors
from .constrained import Profiled, profiled_parameter
from .walk import Task, end_of, walk_outwards

#: Tiles of curves that are worked on together, and curves to which fewer are padded.
TILES, FEWEST = 8, 32


@with_own_switches
def profile_interval(
    family: Family,
    time: Float[Array, " checkpoints"],
    losses: Float[Array, "*curves checkpoints"],
    name: str,
    weights: Float[Array, "*curves checkpoints"] | None = None,
    *,
    level: float = 0.9,
    options: FitOptions = FitOptions(),
    noise: NoiseModel | None = None,
) -> Interval:
    """Confidence intervals of one parameter, by how far it can go while the others make the best of it.

    The profile ``R(ψ)`` is the least rss of all curves whose parameter is ψ, every other parameter within its bounds.
    The interval is where it has risen above the fit's rss by at most

        ``t² · variance · sandwich / naive``,

    t the quantile of Student's distribution, the variance that of a residual, both as `Fit.stderr` and
    `Fit.degrees_of_freedom` have them, and the last factor the parameter's variance under the noise found in the
    residuals over that under independent noise. For a curve that is nearly quadratic this is `Fit.interval`. Beyond
    that it follows the curve: one-sided where the profile never rises so far ("after step 1,200"), with 0, `inf` or
    `-inf` for the open end. It is open to both sides where an F test at level ``1 - level``, corrected for having
    searched over all events, does not tell the curve from a constant. A plateau ends at a bound that
    `FitOptions.min_plateau` or `max_plateau_ratio` sets. With Huber's loss the weights are those of the fit.

    How often 90% intervals of `learning_time` hold the planted truth, in brackets those of `Fit.interval` (1,500
    curves each, known to 0.8%; even spacing in ln(step), drops of 1 to 6 nat over 8 to 50% of the window, noise of 0.1
    to 0.5 nat with correlation ρ between checkpoints, with a noise model):

    ==================================  ===========  ===========  ===========
    event, checkpoints                  ρ = 0        ρ = 0.5      ρ = 0.7
    ==================================  ===========  ===========  ===========
    10 to 90% of the window, 64         90% (89%)    89% (87%)    89% (87%)
    10 to 90% of the window, 128        90% (89%)    88% (88%)    89% (88%)
    last 10% of the window, 64          90% (68%)    92% (68%)    94% (71%)
    last 10% of the window, 128         91% (72%)    90% (67%)    91% (66%)
    up to 10% past its end, 64          90% (39%)    94% (34%)    96% (31%)
    up to 10% past its end, 128         88% (40%)    89% (33%)    91% (29%)
    steps between two checkpoints, 64   92% (77%)                 93% (75%)
    ==================================  ===========  ===========  ===========

    Of the events past the end, only those that the test finds are bounded on a side at all. Of the few whose category
    is LEARNED all the same, because noise spoke for it, 60 to 75% of the intervals hold.

    Args:
        family: what to fit, such as ``Sigmoid()``; any parameter of the families of this package, of others those that
            are a function of one component of theta or linear in the plateaus.
        time: (checkpoints,) as in `tsl_jax.fit`.
        losses: (\\*curves, checkpoints) in nat.
        name: of the parameter.
        weights: as in `tsl_jax.fit`.
        level: of confidence, between 0 and 1.
        options: how the curves are fitted, as in `tsl_jax.fit`.
        noise: what many curves show of the noise, as in `tsl_jax.fit`.

    Returns:
        `Interval`, its arrays of shape (\\*curves); NaN for curves without parameters. Of a profile with several
        valleys it is the one of the fit. Ends are found to half a percent of their distance from the fit.

    Raises:
        TypeError: losses or time are not real floating-point numbers, or the family or options are of another type.
        ValueError: as `tsl_jax.fit`; the family has no such parameter or it is of neither kind; the level is no
            probability.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> step, rng = np.geomspace(10.0, 1e4, 64), np.random.default_rng(0)
        >>> truth = {"learning_time": np.array([[300.0], [9e3]]), "sharpness": 1.5, "loss_drop": 4.0, "final_loss": 1.0}
        >>> losses = tsl.Sigmoid().curve(step, truth) + 0.2 * rng.standard_normal((2, 64))
        >>> interval = tsl.profile_interval(tsl.Sigmoid(), step, losses.astype("float32"), "learning_time")
        >>> bool(interval.lower[0] < 300.0 < interval.upper[0]), bool(interval.upper[1] > 1e4)
        (True, True)

    Source: Murphy and van der Vaart 2000 (profile likelihood as an ordinary one); Chandler and Bate 2007, Pace, Salvan
    and Sartori 2011 (its scale where the noise is not what the sum of squares takes it for).
    """
    check_level(level)
    device = device_of(losses)
    axis_values, losses, weights = check_input(family, time, losses, weights, options)
    profiled = profiled_parameter(family, name)
    check_noise(options, noise, axis_values)
    dtype = jnp.promote_types(losses.dtype, jnp.float32)
    options = with_chosen_kernel(family, options, dtype)
    u = family.coordinate(axis_values)
    window = family.window(u)
    x = jnp.asarray((u - window[0]) / window[1], dtype)
    in_windows = profiled.name == family.event and is_far(family, axis_values, dtype)
    axis = x, tuple(jnp.asarray(a, dtype) for a in window), assumed_noise(options.noise, noise, len(x), dtype)
    lower, upper = in_few_sizes(
        functools.partial(_of_rows, family, profiled, float(level), options, in_windows, axis),
        flat_rows(losses, weights),
        shape=losses.shape[:-1],
        multiple=tile_size(len(x)),
        fewest=FEWEST,
        device=device,
    )
    if in_windows:
        lower, upper = (axis_value(family, end, axis_values) for end in (lower, upper))
    return Interval(lower, upper)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _of_rows(family: Family, profiled: Profiled, level: float, options: FitOptions, in_windows: bool, axis, *rows):
    number, num_checkpoints = rows[0].shape
    tile = tile_size(num_checkpoints)
    size = min(TILES * tile, max(1 << max(number - 1, 0).bit_length(), 1))
    blocks = max(1, -(-number // size))
    padded = [
        jnp.pad(a, ((0, blocks * size - number), (0, 0)), constant_values=jnp.nan).reshape(blocks, size, -1)
        for a in rows
    ]
    found = lax.map(lambda block: _of_block(family, profiled, level, options, in_windows, axis, *block), tuple(padded))
    return tuple(a.reshape(blocks * size)[:number] for a in found)


def _of_block(
    family: Family, profiled: Profiled, level: float, options: FitOptions, in_windows: bool, axis, losses, weights=None
):
    """The ends of the intervals of (curves, checkpoints) losses.

    Args:
        in_windows: whether ends of an event are in the window's own unit.
    """
    x, window, assumed = axis
    block, units, num_points, status = prepare(family, options, x, losses, weights)
    solution, block, inflation = best(family, options, block)
    measures = measure(family, options, assumed, block, solution)
    scatter = scatter_of(measures, len(family.names), num_points, inflation)
    t = t_quantile(level, scatter.freedom)
    estimate, naive, ratio = profiled_errors(family, profiled, window, measures, solution)
    eps = float(jnp.finfo(x.dtype).eps)
    rounding = jnp.sum(block.weight * jnp.square(block.loss), axis=0) * (4 * eps) ** 2
    allowed = jnp.maximum(jnp.square(t) * scatter.variance * ratio, rounding)
    limits = limits_of(family, profiled, window, options, block, solution, estimate, in_windows)
    wald = jnp.sqrt(allowed * naive)
    first = jnp.where(wald > 0, jnp.minimum(wald, 2 * limits.width), limits.width)
    low, high, theta = solution.coefficients[0], solution.coefficients[1], solution.coefficients[2:]
    task = jax.tree.map(
        lambda *sides: jnp.concatenate(sides, axis=-1),
        Task(estimate, theta, low, high, measures.rss, allowed, -first, limits.lower),
        Task(estimate, theta, low, high, measures.rss, allowed, first, limits.upper),
    )
    ended = walk_outwards(family, profiled, window, block, task)
    end, place = end_of(ended)
    open_ended = ended.limited | at_reach(options, block, place)
    if family.event is not None:
        careful = dataclasses.replace(options, event_test="f_test", significance=1 - level)
        unseen = evidence_of(careful, len(family.names), measures, num_points, inflation).ratio < 1
        open_ended |= jnp.tile(unseen, 2)
    ends = [
        jnp.where(reached, beyond, in_own_unit(family, profiled, window, solution, value, in_windows))
        for value, reached, beyond in zip(jnp.split(end, 2), jnp.split(open_ended, 2), limits.beyond, strict=True)
    ]
    usable = (status == Status.CONVERGED) & jnp.isfinite(estimate)
    size = sizes_of(family, solution.coefficients[2:], window, units.loss)[profiled.name]
    return tuple(jnp.where(usable, size * a, jnp.nan) for a in (jnp.minimum(*ends), jnp.maximum(*ends)))
