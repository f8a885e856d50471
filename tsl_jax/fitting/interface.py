"""`tsl.fit`: many curves at once, whatever their shape, gaps, weights and precision."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..curves import Family
from ..curves.parts import in_parts
from ..jax_switches import with_own_switches
from .block_fit import default_block_size, fit_rows, row_multiple
from .checks import check_input, check_noise
from .far import is_far, with_whole_times
from .few_sizes import MOST, device_of, in_few_sizes
from .kernel_choice import with_chosen_kernel
from .noise import NoiseModel, assumed_noise
from .options import FitOptions
from .result import Fit


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
    Pure: works under `jit` (where it builds and loads nothing: see `load_kernel`), `vmap` and `shard_map`. Rows of a
    sharded array are fitted where they lie, under `jit` too (where a derivative is wanted, XLA decides). Differentiable
    in `losses` and `weights` by the implicit function theorem (with `huber_threshold`: of the last re-weighted fit, its
    weights held).
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
