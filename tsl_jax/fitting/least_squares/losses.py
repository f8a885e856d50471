"""Robust losses of residuals, by SciPy's names, as sums of squares.

``Σ f² ρ((r/f)²) = Σ (f·g(r/f))²`` with ``g(t) = sign(t) √ρ(t²)``, which is smooth through 0: so the same search
minimises them all, and the same theorem differentiates the result.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Residuals = Float[Array, " m"]


@dataclasses.dataclass(frozen=True)
class ResidualLoss:
    """One loss, of residuals t in units of ``f_scale``.

    Attributes:
        root: ``g(t)``, the signed root of the loss.
        influence: ``ψ(t)``, half of the loss's derivative.
        slope: ``ψ'(t)``.
    """

    root: Callable[[Residuals], Residuals]
    influence: Callable[[Residuals], Residuals]
    slope: Callable[[Residuals], Residuals]


def _huber_root(t: Residuals) -> Residuals:
    size = jnp.maximum(jnp.abs(t), 1)
    return jnp.where(jnp.abs(t) <= 1, t, jnp.sign(t) * jnp.sqrt(2 * size - 1))


def _length(t: Residuals) -> Residuals:
    """``√(1 + t²)`` without overflow."""
    size = jnp.maximum(jnp.abs(t), 1)
    return size * jnp.sqrt(jnp.square(1 / size) + jnp.square(t / size))


#: ``ρ(z)``: ``z``; ``z`` up to 1 and ``2√z - 1`` beyond (Huber 1964); ``2(√(1 + z) - 1)``.
LOSSES = {
    "linear": ResidualLoss(lambda t: t, lambda t: t, jnp.ones_like),
    "huber": ResidualLoss(
        _huber_root, lambda t: jnp.clip(t, -1, 1), lambda t: jnp.where(jnp.abs(t) <= 1, jnp.ones_like(t), 0)
    ),
    "soft_l1": ResidualLoss(
        lambda t: t * jnp.sqrt(2 / (1 + _length(t))), lambda t: t / _length(t), lambda t: _length(t) ** -3
    ),
}


def rooted_loss(loss: str, f_scale: float, residuals: Residuals) -> Residuals:
    """What has the loss for its sum of squares."""
    if loss == "linear":
        return residuals
    return f_scale * LOSSES[loss].root(residuals / f_scale)


def residual_variance(loss: str, f_scale: float, residuals: Residuals, counted, freedom) -> Float[Array, ""]:
    """``(Σ ψ² / freedom) / (mean ψ')²``: times ``(J'J)^-1`` it is the covariance of what minimises the loss.

    ``rss / freedom`` for the linear one; NaN where no residual bends the loss. Source: P. J. Huber, Robust Statistics,
    1981, section 7.6.
    """
    if loss == "linear":
        return jnp.sum(jnp.square(residuals)) / freedom
    kind = LOSSES[loss]
    t = residuals / f_scale
    squares = jnp.sum(jnp.square(f_scale * kind.influence(t))) / freedom
    bend = jnp.sum(jnp.where(counted, kind.slope(t), 0)) / jnp.maximum(jnp.sum(counted), 1)
    return jnp.where(bend > 0, squares / jnp.square(jnp.where(bend > 0, bend, 1)), jnp.nan)
