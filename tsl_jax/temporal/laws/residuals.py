"""Correlation of residuals from row to row, and what it leaves of the rows."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

#: Residuals count as correlated from row to row up to this much.
_MOST = 0.99


def autocorrelation(residuals: Float[Array, " rows"], counts: Bool[Array, " rows"]) -> Float[Array, ""]:
    """Lag-1 autocorrelation over neighbours that both count, between 0 (also where it is negative) and 0.99."""
    residuals = jnp.where(counts, residuals, 0.0)
    pairs = counts[1:] & counts[:-1]
    both = jnp.sum(jnp.where(pairs, residuals[1:] * residuals[:-1], 0.0)) / jnp.maximum(jnp.sum(pairs), 1)
    each = jnp.sum(residuals**2) / jnp.maximum(jnp.sum(counts), 1)
    return jnp.clip(both / jnp.maximum(each, jnp.finfo(each.dtype).tiny), 0.0, _MOST)


def independent_rows(rows: Int[Array, ""] | int, correlation: Float[Array, ""]) -> Float[Array, ""]:
    """Number of independent rows that know as much of a mean: ``n (1 - ρ) / (1 + ρ)``, for residuals like AR(1)."""
    return rows * (1 - correlation) / (1 + correlation)
