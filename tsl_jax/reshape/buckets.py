"""Buckets of sequences by their scores, and the sampling weights that lift the upper ones."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ..jax_switches import with_own_switches


@with_own_switches
def bucket_of(score: ArrayLike, buckets: int = 10) -> Int[Array, " sequences"]:
    """Cut sequences into buckets of equal size by the rank of their scores.

    Sequences of equal score are ranked in their order, so that equally many fall into each bucket whatever the ties.

    Args:
        score: (sequences,) scores, any unit.
        buckets: how many; sizes differ by one at most.

    Returns:
        (sequences,) bucket, 0 for the lowest scores.

    Raises:
        ValueError: fewer than two buckets, fewer sequences than buckets, or a score that is not finite.

    Example:
        >>> bucket_of([0.3, 0.1, 0.2, 0.9], buckets=2).tolist()
        [1, 0, 0, 1]

    Source: arXiv 2606.29858.
    """
    score = jnp.asarray(score)
    if buckets < 2:
        raise ValueError(f"buckets: got {buckets}, expected at least 2")
    if len(score) < buckets:
        raise ValueError(f"buckets: got {buckets} for {len(score)} sequences, expected at least one sequence a bucket")
    if not jnp.all(jnp.isfinite(score)):
        raise ValueError("score: some are not finite; leave those sequences out")
    rank = jnp.argsort(jnp.argsort(score, stable=True))
    # Divided, never multiplied: rank * buckets may pass 2^31.
    size, larger = divmod(len(score), buckets)
    edge = (size + 1) * larger
    return jnp.where(rank < edge, rank // (size + 1), larger + (rank - edge) // max(size, 1))


@with_own_switches
def bucket_weights(bucket: ArrayLike, buckets: int = 10, *, strength: float = 0.5) -> Float[Array, " sequences"]:
    """Weights that fall short of one in the lower buckets and exceed it in the upper ones, by a straight line.

    ``1 + strength·(2·bucket/(buckets - 1) - 1)``, scaled to a mean of one: as many sequences are drawn as before.

    Args:
        bucket: (sequences,) from `bucket_of`.
        buckets: how many there are.
        strength: from 0 (all alike) to 1 (the lowest bucket is left out, the highest drawn twice as often).

    Returns:
        (sequences,) weights; their sum is the number of sequences.

    Raises:
        ValueError: a strength outside 0 to 1, fewer than two buckets, or weights whose sum is zero.

    Example:
        >>> bucket_weights([0, 1, 2], buckets=3, strength=0.5).tolist()
        [0.5, 1.0, 1.5]

    Source: arXiv 2606.29858 lowers the bottom and raises the top buckets; the straight line is this package's choice.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: got {strength}, expected 0 to 1")
    if buckets < 2:
        raise ValueError(f"buckets: got {buckets}, expected at least 2")
    weight = 1 + strength * (2 * jnp.asarray(bucket) / (buckets - 1) - 1)
    total = jnp.sum(weight)
    if not total > 0:
        raise ValueError("bucket: only the lowest bucket is there, whose weight is 0; lower the strength")
    return weight * (len(weight) / total)


@with_own_switches
def effective_sample_size(weight: ArrayLike) -> Float[Array, ""]:
    """How many equally weighted sequences vary as little: ``(Σw)²/Σw²``.

    Example:
        >>> round(float(effective_sample_size([1.0, 1.0, 2.0])), 2)
        2.67

    Source: L. Kish, Survey Sampling, 1965.
    """
    weight = jnp.asarray(weight, float)
    return jnp.square(jnp.sum(weight)) / jnp.sum(jnp.square(weight))
