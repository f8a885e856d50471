"""The position law over other sequences: bootstrap over groups of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...arguments import real_array
from ...fitting.checks import as_known
from ...fitting.options import FitOptions
from ...jax_switches import with_own_switches
from ...linalg.known import any_traced, mapped
from .law import PositionLaw, position_law

#: Bytes of the replicates' means that exist at once.
_BLOCK_BYTES = 2**26


@with_own_switches
def resample_position_law(
    position: Float[Array, " positions"],
    group_mean: Float[Array, "groups checkpoints positions"],
    group_count: Int[Array, "groups checkpoints positions"],
    stderr: Float[Array, "checkpoints positions"] | None,
    key: PRNGKeyArray,
    *,
    replicates: int = 200,
    options: FitOptions = FitOptions(),
) -> PositionLaw:
    """The position law fitted again to resampled sequences: the scatter of its parameters is their honest error.

    Every replicate draws groups of sequences with replacement, one fewer than there are, which makes the
    replicates' variance unbiased (McCarthy and Snowden 1985). The same draw serves all checkpoints, so that
    replicates carry the correlations between positions and between checkpoints that standard errors alone lack.

    Args:
        position: (positions,) as in `position_law`.
        group_mean: (groups, checkpoints, positions) mean loss of each group, nat; anything where its count is 0.
        group_count: (groups, checkpoints, positions) how many losses it is of.
        stderr: weights of the fits, as in `position_law`; the same for all replicates.
        key: of `jax.random.key`.
        replicates: how many.
        options: of the engine.

    Returns:
        `PositionLaw` whose arrays begin with the axes (replicates, checkpoints). Its own `stderr` and
        `chi2_reduced` belong to single replicates and seldom matter.

    Raises:
        ValueError: fewer than 2 groups or replicates, or shapes that disagree.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> position = jnp.arange(1.0, 33.0)
        >>> noise = 0.1 * jax.random.normal(jax.random.key(0), (20, 1, 32))
        >>> means = 2.0 / (1 + 0.2 * position) + 4.0 + noise
        >>> laws = resample_position_law(position, means, jnp.ones_like(means), None, jax.random.key(1))
        >>> laws.params["floor"].shape
        (200, 1)

    Source: J. N. K. Rao and C. F. J. Wu, JASA 83 (1988), for the number drawn.
    """
    group_mean, group_count = (
        as_known(real_array(name, each)) for name, each in (("group_mean", group_mean), ("group_count", group_count))
    )
    if group_mean.ndim != 3 or group_mean.shape != group_count.shape or group_mean.shape[0] < 2:
        raise ValueError(
            f"group_mean, group_count: got shapes {group_mean.shape} and {group_count.shape}, expected "
            "(groups, checkpoints, positions) twice, with at least 2 groups"
        )
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2")
    group_mean = group_mean.astype(jnp.promote_types(group_mean.dtype, jnp.float32))  # whole numbers may come, too
    groups, *shape = group_mean.shape
    traced = any_traced(group_mean, group_count, stderr, key)
    at_once = max(1, min(replicates, _BLOCK_BYTES // (4 * int(np.prod(shape)))))
    xp, exact = (jnp, {"precision": "highest"}) if traced else (np, {})
    times = xp.asarray(_times(key, replicates, groups)).astype(group_mean.dtype)
    blocks = -(-replicates // at_once)
    times = xp.pad(times, ((0, blocks * at_once - replicates), (0, 0)), mode="edge").reshape(blocks, at_once, groups)
    counts = group_count.astype(times.dtype)
    sums = xp.where(counts > 0, group_mean, 0) * counts

    def refit(times):
        total, count = (xp.tensordot(times, each, 1, **exact) for each in (sums, counts))
        mean = xp.where(count > 0, total / xp.where(count > 0, count, 1), xp.nan)
        return position_law(position, mean, stderr, options=options)

    laws = mapped(refit, times)
    return jax.tree.map(lambda a: jnp.asarray(a.reshape(blocks * at_once, *a.shape[2:])[:replicates]), laws)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _times(key, replicates: int, groups: int) -> Int[Array, "replicates groups"]:
    """How often each replicate draws each group."""
    draws = jax.random.randint(key, (replicates, groups - 1), 0, groups)
    return jax.vmap(lambda draw: jnp.bincount(draw, length=groups))(draws)
