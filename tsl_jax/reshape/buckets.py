"""Buckets of sequences by their scores, and the sampling weights that lift the upper ones."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ..jax_switches import with_own_switches


@with_own_switches
def bucket_of(score: ArrayLike, buckets: int = 10, *, domain: ArrayLike | None = None) -> Int[Array, " sequences"]:
    """Cut sequences into buckets of equal size by the rank of their scores.

    Sequences of equal score are ranked in their order, so that equally many fall into each bucket whatever the ties.

    Args:
        score: (sequences,) scores, any unit.
        buckets: how many; sizes differ by one at most.
        domain: (sequences,) codes: each domain is cut for itself, one of fewer sequences than buckets spread over them.

    Returns:
        (sequences,) bucket, 0 for the lowest scores.

    Raises:
        ValueError: fewer than two buckets, fewer sequences than buckets, or a score that is not finite.

    Example:
        >>> bucket_of([0.3, 0.1, 0.2, 0.9], buckets=2).tolist()
        [1, 0, 0, 1]
        >>> bucket_of([0.3, 0.1, 0.2, 0.9], buckets=2, domain=[0, 0, 1, 1]).tolist()
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
    if domain is None:
        return _cut(score, buckets)
    bucket = jnp.zeros(len(score), int)
    for inside in _members(domain):
        bucket = bucket.at[inside].set(_cut(score[inside], buckets))
    return bucket


def _cut(score: Float[Array, " sequences"], buckets: int) -> Int[Array, " sequences"]:
    rank = jnp.argsort(jnp.argsort(score, stable=True))
    if len(score) < buckets:
        return ((2 * rank + 1) * buckets) // (2 * len(score))
    # Divided, never multiplied: rank * buckets may pass 2^31.
    size, larger = divmod(len(score), buckets)
    edge = (size + 1) * larger
    return jnp.where(rank < edge, rank // (size + 1), larger + (rank - edge) // max(size, 1))


def _members(domain: ArrayLike) -> list[np.ndarray]:
    """Which sequences each domain has."""
    codes = np.asarray(domain)
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]


@with_own_switches
def bucket_weights(
    bucket: ArrayLike,
    buckets: int = 10,
    *,
    strength: float = 0.5,
    ends: int | None = None,
    domain: ArrayLike | None = None,
) -> Float[Array, " sequences"]:
    """Weights that fall short of one in the lower buckets and exceed it in the upper ones.

    By a straight line, ``1 + strength·(2·bucket/(buckets - 1) - 1)``, or in the buckets at both ends alone,
    ``1 - strength`` in the lowest ``ends`` and ``1 + strength`` in the highest; scaled to a mean of one: as many
    sequences are drawn as before.

    Args:
        bucket: (sequences,) from `bucket_of`.
        buckets: how many there are.
        strength: from 0 (all alike) to 1 (the lowest bucket is left out, the highest drawn twice as often).
        ends: how many buckets change at each end; None for the straight line.
        domain: (sequences,) codes: the weights of each domain have a mean of one, so that the mixture stays.

    Returns:
        (sequences,) weights; their sum is the number of sequences.

    Raises:
        ValueError: a strength outside 0 to 1, fewer than two buckets, ends that meet, or weights whose sum is zero.

    Example:
        >>> bucket_weights([0, 1, 2], buckets=3, strength=0.5).tolist()
        [0.5, 1.0, 1.5]
        >>> bucket_weights([0, 1, 2, 3, 4], buckets=5, strength=0.25, ends=2).tolist()
        [0.75, 0.75, 1.0, 1.25, 1.25]

    Source: arXiv 2606.29858 lowers the bottom and raises the top buckets; the straight line is this package's choice.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: got {strength}, expected 0 to 1")
    if buckets < 2:
        raise ValueError(f"buckets: got {buckets}, expected at least 2")
    if ends is not None and not 0 < 2 * ends <= buckets:
        raise ValueError(f"ends: got {ends} buckets at each end of {buckets}, expected 1 to {buckets // 2}")
    bucket = jnp.asarray(bucket)
    lift = 2 * bucket / (buckets - 1) - 1
    if ends is not None:
        lift = jnp.where(bucket < ends, -1, 0) + jnp.where(bucket >= buckets - ends, 1, 0)
    weight = 1 + strength * lift
    for inside in [np.arange(len(weight))] if domain is None else _members(domain):
        total = jnp.sum(weight[inside])
        if not total > 0:
            raise ValueError("bucket: only the lowest bucket is there, whose weight is 0; lower the strength")
        weight = weight.at[inside].multiply(len(inside) / total)
    return weight


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
