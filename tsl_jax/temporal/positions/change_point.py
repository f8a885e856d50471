"""Least squares of two coordinates that become constant at a change point, for all candidates of the point."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from ...linalg.known import algebra_of, mapped, module_of

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
    xp = module_of(covariance)
    safe = xp.where(usable[:, None, None], covariance, xp.eye(2, dtype=covariance.dtype))
    tiny = np.finfo(covariance.dtype).tiny
    first = xp.sqrt(xp.maximum(safe[:, 0, 0], tiny))
    along = safe[:, 0, 1] / first
    second = xp.sqrt(xp.maximum(safe[:, 1, 1] - along * along, tiny))
    rows = (1 / first, xp.zeros_like(first)), (-along / first / second, 1 / second)
    inverse = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    return xp.where(usable[:, None, None] & xp.all(xp.isfinite(inverse), (-1, -2), keepdims=True), inverse, 0)


def columns_at(u, candidate, whitening: Float[Array, "checkpoints 2 2"]) -> Float[Array, "numbers coefficients"]:
    """Columns of the fits with this change point, whitened: the constants, then the powers."""
    xp = module_of(u)
    before = xp.maximum(candidate - u, 0)[:, None, None]
    columns = xp.concatenate([before**power * whitening for power in range(1 + DEGREE)], axis=-1)
    return columns.reshape(-1, COEFFICIENTS)


def profile(
    u: Float[Array, " checkpoints"],
    candidates: Float[Array, " candidates"],
    whitening: Float[Array, "checkpoints 2 2"],
    whitened: Float[Array, "checkpoints 2 curves"],
) -> Profile:
    """Fits ``W·(end + cubic in h), h = max(candidate - u, 0)``, to every curve, for each candidate."""
    xp, algebra, curves = module_of(u), algebra_of(u), whitened.reshape(-1, whitened.shape[-1])

    def fit(candidate):
        upper, along, rest = algebra.eliminate(columns_at(u, candidate, whitening), curves)
        return Profile(xp.sum(xp.square(rest), axis=0), algebra.back_substitute(upper, along)[:2].T)

    return mapped(fit, candidates)


def fitted_at(u, candidate, whitening, whitened: Float[Array, "checkpoints 2"]) -> Float[Array, "checkpoints 2"]:
    """The fit to one curve with this change point, whitened."""
    curve = whitened.reshape(-1, 1)
    rest = algebra_of(u).eliminate(columns_at(u, candidate, whitening), curve)[2]
    return (curve - rest).reshape(whitened.shape)


def fit_constants(whitening, whitened: Float[Array, "checkpoints 2 curves"]) -> Profile:
    """The best constants of every curve, as a profile of one candidate."""
    xp, algebra = module_of(whitened), algebra_of(whitened)
    upper, along, rest = algebra.eliminate(whitening.reshape(-1, 2), whitened.reshape(-1, whitened.shape[-1]))
    return Profile(xp.sum(xp.square(rest), axis=0)[None], algebra.back_substitute(upper, along).T[None])


def within(candidates, chi2: Float[Array, " candidates"], most) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The outermost points at which the sum of squares is at most this, between candidates by interpolation."""
    xp = module_of(chi2)

    def outermost(candidates, chi2):
        inside = xp.argmax(chi2 <= most)
        outside = xp.maximum(inside - 1, 0)
        fall = chi2[outside] - chi2[inside]
        fraction = xp.where(fall > 0, (most - chi2[inside]) / xp.where(fall > 0, fall, 1), 0)
        return candidates[inside] + fraction * (candidates[outside] - candidates[inside])

    return outermost(candidates, chi2), outermost(candidates[::-1], chi2[::-1])


def candidates_of(u, usable: Bool[Array, " checkpoints"], number: int) -> Float[Array, " candidates"]:
    """Change points to try: evenly from where enough checkpoints lie before it to the last."""
    xp = module_of(u)
    ordered = xp.sort(xp.where(usable, u, xp.inf))
    return xp.linspace(ordered[DEGREE], xp.max(u, where=usable, initial=-xp.inf), number)


def best_start(u, usable, whitening, whitened: Float[Array, "checkpoints 2"], least: int) -> Float[Array, ""]:
    """From which checkpoint on the curve has this form: earlier ones get constants of their own, at BIC's price.

    Each of them saves what it adds to the sum of squares and costs ``2 ln(2n)`` for its two constants. At least
    ``least`` checkpoints and a quarter of all stay.
    """
    xp = module_of(u)
    number = xp.sum(usable)
    dropped = xp.linspace(0, xp.maximum(number - xp.maximum(least, number // 4), 0), _STARTS).astype(int)
    starts = xp.sort(xp.where(usable, u, xp.inf))[dropped]

    def cost(start, dropped):
        kept = usable & (u >= start)
        masked = xp.where(kept[:, None, None], whitening, 0), xp.where(kept[:, None, None], whitened[..., None], 0)
        found = profile(u, candidates_of(u, kept, _COARSE), *masked)
        return xp.min(found.chi2) + 2 * dropped * xp.log(2.0 * number)

    return starts[xp.argmin(mapped(lambda pair: cost(*pair), (starts, dropped)))]
