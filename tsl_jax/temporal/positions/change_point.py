"""Least squares of two coordinates that become constant at a change point, for all candidates of the point."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...linalg.small import back_substitute, eliminate, whiten

#: Degree of the polynomial before the change point. A cubic costs width, but a stiffer curve that is not quite right
#: moves the point by more than its interval tells (planted hinges of amplitude and rate: 78% covered instead of 90).
DEGREE = 3
#: Coefficients of the two coordinates: constants and polynomials.
COEFFICIENTS = 2 * (1 + DEGREE)
#: Starts that are tried, and change points tried for each.
_STARTS, _COARSE = 24, 48


class Profile(NamedTuple):
    """Best fits of every curve given the change point.

    Attributes:
        chi2: sums of squares of whitened residuals.
        end: the constants, both coordinates.
    """

    chi2: Float[Array, "candidates curves"]
    end: Float[Array, "candidates curves 2"]


def whitening_of(covariance: Float[Array, "checkpoints 2 2"], usable) -> Float[Array, "checkpoints 2 2"]:
    """W with ``W'W`` the inverse covariance; 0 for checkpoints that do not count."""
    identity = jnp.eye(2, dtype=covariance.dtype)
    safe = jnp.where(usable[:, None, None], covariance, identity)
    inverse = jax.vmap(lambda matrix: whiten(matrix, identity)[0])(safe)
    return jnp.where(usable[:, None, None] & jnp.all(jnp.isfinite(inverse), (-1, -2), keepdims=True), inverse, 0)


def columns_at(u, candidate, whitening: Float[Array, "checkpoints 2 2"]) -> Float[Array, "numbers coefficients"]:
    """Columns of the fits with this change point, whitened: the constants, then the powers."""
    before = jnp.maximum(candidate - u, 0)[:, None, None]
    columns = jnp.concatenate([before**power * whitening for power in range(1 + DEGREE)], axis=-1)
    return columns.reshape(-1, COEFFICIENTS)


def profile(
    u: Float[Array, " checkpoints"],
    candidates: Float[Array, " candidates"],
    whitening: Float[Array, "checkpoints 2 2"],
    whitened: Float[Array, "checkpoints 2 curves"],
) -> Profile:
    """Fits ``W·(end + cubic in h), h = max(candidate - u, 0)``, to every curve, for each candidate."""
    curves = whitened.reshape(-1, whitened.shape[-1])

    def fit(candidate):
        upper, along, rest = eliminate(columns_at(u, candidate, whitening), curves)
        return Profile(jnp.sum(jnp.square(rest), axis=0), back_substitute(upper, along)[:2].T)

    return jax.lax.map(fit, candidates)


def fitted_at(u, candidate, whitening, whitened: Float[Array, "checkpoints 2"]) -> Float[Array, "checkpoints 2"]:
    """The fit to one curve with this change point, whitened."""
    curve = whitened.reshape(-1, 1)
    rest = eliminate(columns_at(u, candidate, whitening), curve)[2]
    return (curve - rest).reshape(whitened.shape)


def fit_constants(whitening, whitened: Float[Array, "checkpoints 2 curves"]) -> Profile:
    """The best constants of every curve, as a profile of one candidate."""
    upper, along, rest = eliminate(whitening.reshape(-1, 2), whitened.reshape(-1, whitened.shape[-1]))
    return Profile(jnp.sum(jnp.square(rest), axis=0)[None], back_substitute(upper, along).T[None])


def within(candidates, chi2: Float[Array, " candidates"], most) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The outermost points at which the sum of squares is at most this, between candidates by interpolation."""

    def outermost(candidates, chi2):
        inside = jnp.argmax(chi2 <= most)
        outside = jnp.maximum(inside - 1, 0)
        fall = chi2[outside] - chi2[inside]
        fraction = jnp.where(fall > 0, (most - chi2[inside]) / jnp.where(fall > 0, fall, 1), 0)
        return candidates[inside] + fraction * (candidates[outside] - candidates[inside])

    return outermost(candidates, chi2), outermost(candidates[::-1], chi2[::-1])


def candidates_of(u, usable: Bool[Array, " checkpoints"], number: int) -> Float[Array, " candidates"]:
    """Change points to try: evenly from where enough checkpoints lie before it to the last."""
    ordered = jnp.sort(jnp.where(usable, u, jnp.inf))
    return jnp.linspace(ordered[DEGREE], jnp.max(u, where=usable, initial=-jnp.inf), number)


def best_start(u, usable, whitening, whitened: Float[Array, "checkpoints 2"], least: int) -> Float[Array, ""]:
    """From which checkpoint on the curve has this form: earlier ones get constants of their own, at BIC's price.

    Each of them saves what it adds to the sum of squares and costs ``2 ln(2n)`` for its two constants. At least
    ``least`` checkpoints and a quarter of all stay.
    """
    number = jnp.sum(usable)
    dropped = jnp.linspace(0, jnp.maximum(number - jnp.maximum(least, number // 4), 0), _STARTS).astype(int)
    starts = jnp.sort(jnp.where(usable, u, jnp.inf))[dropped]

    def cost(start, dropped):
        kept = usable & (u >= start)
        masked = jnp.where(kept[:, None, None], whitening, 0), jnp.where(kept[:, None, None], whitened[..., None], 0)
        found = profile(u, candidates_of(u, kept, _COARSE), *masked)
        return jnp.min(found.chi2) + 2 * dropped * jnp.log(2.0 * number)

    return starts[jnp.argmin(jax.lax.map(lambda pair: cost(*pair), (starts, dropped)))]
