"""Courses of the loss, drawn from the posterior of a law."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .law_posterior import COLUMNS, DRIFTS, EXPONENTS, NOISES, Posterior, Rows, columns


def draw(found: Posterior, rows: Rows, key, own_key, draws: int) -> Float[Array, "draws rows"]:
    """Losses at rows after the last known one, drawn.

    The gain is drawn with ``key``, everything else with ``own_key``: draws of two runs with the same ``key`` differ by
    what is each run's own, and not by what a fall of the learning rate brings to both.
    """
    keys = jax.random.split(own_key, 4)
    chosen = picked(jnp.exp(found.log_weight.reshape(-1)), jax.random.uniform(keys[0], (draws,)))
    place = jnp.unravel_index(chosen, found.log_weight.shape)
    x = jnp.maximum(rows.log_clock - found.origin, 0)
    mean, factor = found.mean.reshape(-1, COLUMNS)[chosen], found.factor.reshape(-1, COLUMNS, COLUMNS)[chosen]
    own = jax.random.normal(keys[1], (draws, COLUMNS - 1), x.dtype)
    # The factor is upper triangular: the last coefficient, the gain, depends on the last number alone.
    normal = jnp.concatenate([own, jax.random.normal(key, (draws, 1), x.dtype)], axis=1)
    coefficients = mean + jnp.einsum("dij,dj->di", factor, normal, precision="highest")
    noise = jnp.asarray(NOISES, x.dtype)[place[4]]
    drift = jnp.asarray(DRIFTS, x.dtype)[place[0]] * noise
    exponent = jnp.asarray(EXPONENTS, x.dtype)[place[2]]
    change = (rows.response - found.at_origin[:, None])[place[3]]
    table = jax.vmap(lambda a, r: columns(a, r, x, found.first))(exponent, change)
    law = found.anchor + jnp.einsum("drc,dc->dr", table, coefficients, precision="highest")
    wander = wandering(x, jax.random.normal(keys[2], (draws, 2, len(x)), x.dtype))
    white = jax.random.normal(keys[3], (draws, len(x)), x.dtype)
    return law + drift[:, None] * wander + noise[:, None] * white


def picked(weight: Float[Array, " places"], uniform: Float[Array, " draws"]) -> Int[Array, " draws"]:
    """Places drawn with these weights, from numbers between 0 and 1."""
    total = jnp.cumsum(weight)
    return jnp.minimum(jnp.searchsorted(total, uniform * total[-1], side="right"), len(weight) - 1)


def wandering(x: Float[Array, " rows"], normal: Float[Array, "draws 2 rows"]) -> Float[Array, "draws rows"]:
    """Paths of integrated Brownian motion from 0 at increasing x, from standard normal numbers."""
    gap = jnp.diff(x, prepend=0)
    speed = jnp.sqrt(gap) * normal[:, 0]
    before = jnp.cumsum(speed, axis=1) - speed
    moved = before * gap + gap * speed / 2 + jnp.sqrt(gap**3 / 12) * normal[:, 1]
    return jnp.cumsum(moved, axis=1)
