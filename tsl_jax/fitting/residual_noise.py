"""The noise of residuals along the checkpoints: what they say of it, and what it does to the coefficients of a fit."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .noise import CurveNoise, Noise, correlation_of, curve_noise


def noise_of(assumed: Noise, size: int, root, e) -> CurveNoise:
    """The noise of every curve, from what its fit of ``size`` parameters leaves.

    Args:
        assumed: what is taken for granted.
        size: parameters that were fitted.
        root: (checkpoints, curves) roots of the weights.
        e: (checkpoints, curves) residuals times them.
    """
    e = e / assumed.std[:, None]
    measured = root > 0

    def add(previous, row):
        value, there = row
        return jnp.where(there, value, previous), value * previous

    lagged = jnp.sum(lax.scan(add, jnp.zeros_like(e[0]), (e, measured))[1], axis=0)
    z = leaning(len(e), e.dtype)[:, None]
    sums = jnp.sum(jnp.square(e), axis=0), lagged, jnp.sum(jnp.abs(e), axis=0), jnp.sum(z * jnp.abs(e), axis=0)
    return curve_noise(assumed, size, jnp.sum(measured, axis=0), *sums)


def leaning(num_checkpoints: int, dtype) -> Float[Array, " checkpoints"]:
    """z, from -1 at the first checkpoint to 1 at the last."""
    return jnp.linspace(-1, 1, num_checkpoints, dtype=dtype)


def sandwiched(assumed: Noise, noise: CurveNoise, root, basis):
    """``Q^T C Q`` for the covariance C of the noise with mean variance 1, by one recursion over checkpoints; and the
    variance of the weighted mean over that of independent noise.

    With ``a_i = ρ_i a_{i-1} + s_i q_i``, s the standard deviations and q the rows of Q, it is
    ``Σ_i (1 - ρ_{i+1}²) a_i a_i^T``, the last one whole: what each checkpoint's own part of the noise adds.
    """
    size, n, _ = basis.shape
    std = assumed.std[:, None] * jnp.exp(noise.growth * leaning(n, basis.dtype)[:, None])
    correlation = correlation_of(assumed.odds[:, None] * noise.odds)
    rows = jnp.concatenate([jnp.moveaxis(basis, 1, 0), root[:, None]], axis=1) * std[:, None]

    def products(carried):
        return carried[:, None] * carried[None]

    def add(state, given):
        carried, sums = state
        row, rho = given
        return (rho * carried + row, sums + (1 - jnp.square(rho)) * products(carried)), None

    nothing = jnp.zeros_like(rows[0])  # under `shard_map` it differs between devices, as the sums do
    (carried, sums), _ = lax.scan(add, (nothing, products(nothing)), (rows, correlation))
    sums = sums + products(carried)
    measured = root > 0
    number = jnp.sum(measured, axis=0)
    variance = jnp.sum(jnp.where(measured, jnp.square(std), 0), axis=0) / jnp.maximum(number, 1)
    whole = sums / jnp.where(number > 0, variance, 1)
    total = jnp.sum(jnp.square(root), axis=0)
    return whole[:size, :size], jnp.where(total > 0, whole[size, size] / jnp.where(total > 0, total, 1), 1)
