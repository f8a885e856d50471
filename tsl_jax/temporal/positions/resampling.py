"""The position law over other sequences: bootstrap over groups of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...fitting.options import FitOptions
from ...jax_switches import with_own_switches
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
    group_mean, group_count = jnp.asarray(group_mean), jnp.asarray(group_count)
    if group_mean.ndim != 3 or group_mean.shape != group_count.shape or group_mean.shape[0] < 2:
        raise ValueError(
            f"group_mean, group_count: got shapes {group_mean.shape} and {group_count.shape}, expected "
            "(groups, checkpoints, positions) twice, with at least 2 groups"
        )
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2")
    groups, *shape = group_mean.shape
    draws = jax.random.randint(key, (replicates, groups - 1), 0, groups)
    times = jax.vmap(lambda draw: jnp.bincount(draw, length=groups))(draws).astype(group_mean.dtype)
    at_once = max(1, min(replicates, _BLOCK_BYTES // (4 * int(np.prod(shape)))))
    blocks = -(-replicates // at_once)
    times = jnp.pad(times, ((0, blocks * at_once - replicates), (0, 0)), mode="edge").reshape(blocks, at_once, groups)
    sums = jnp.where(group_count > 0, group_mean, 0) * group_count

    def refit(times):
        total = jnp.einsum("rg,gcp->rcp", times, sums, precision="highest")
        count = jnp.einsum("rg,gcp->rcp", times, group_count.astype(times.dtype), precision="highest")
        mean = jnp.where(count > 0, total / jnp.where(count > 0, count, 1), jnp.nan)
        return position_law(position, mean, stderr, options=options)

    laws = jax.lax.map(refit, times)
    return jax.tree.map(lambda a: a.reshape(blocks * at_once, *a.shape[2:])[:replicates], laws)
