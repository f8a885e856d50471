"""The change point's interval and the test of a change: fits to curves with a known point and the law's noise."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from ...linalg.known import module_of, product
from .change_point import Profile, fit_constants, fitted_at, profile, within

#: Candidates around all that the interval may hold, evenly spaced in ln(axis).
_FINE = 96
#: Replicates are held within this many standard errors of the estimate: beyond, a fit has run off to a bound.
_REACH = 6.0
#: Replicates that are drawn where none are given.
_DRAWN = 200


class WhitenedLaw(NamedTuple):
    """``ln a``, the whitening of both coordinates, and what it makes of them."""

    u: Float[Array, " checkpoints"]
    whitening: Float[Array, "checkpoints 2 2"]
    own: Float[Array, "checkpoints 2"]


class ChangePoint(NamedTuple):
    """Change point, its interval, the replicates' points, and the constants of the curve and of all replicates."""

    best: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    replicates: Float[Array, " replicates"]
    end: Float[Array, "curves 2"]


def change_by_noise(data: WhitenedLaw, candidates, noise) -> tuple[Float[Array, ""], Float[Array, "curves 2"]]:
    """How often noise alone gains as much from a change point as the curve, and the constants without one."""
    xp = module_of(data.own)
    curves = xp.concatenate([data.own[..., None], noise], axis=-1)
    constants = fit_constants(data.whitening, curves)
    gain = constants.chi2[0] - xp.min(profile(data.u, candidates, data.whitening, curves).chi2, axis=0)
    p_value = (1 + xp.sum(gain[1:] >= gain[0])) / len(gain)
    # The replicates of a curve are the curve and noise.
    end = constants.end[0]
    return p_value, xp.concatenate([end[:1], end[1:] + end[0]])


def point_interval(data: WhitenedLaw, candidates, chi2, noise, level, margin) -> ChangePoint:
    """The change point between coarse candidates, then between fine ones around all that the interval may hold."""
    xp = module_of(data.own)
    _, allowed = _refit(data, candidates, xp.argmin(chi2), noise, level)
    low, high = within(candidates, chi2, xp.min(chi2) + 2 * allowed + margin)
    gap = candidates[1] - candidates[0]
    fine = xp.linspace(xp.maximum(low - gap, candidates[0]), xp.minimum(high + gap, candidates[-1]), _FINE)
    own = profile(data.u, fine, data.whitening, data.own[..., None])
    best = xp.argmin(own.chi2[:, 0])
    again, allowed = _refit(data, fine, best, noise, level)
    lower, upper = within(fine, own.chi2[:, 0], own.chi2[best, 0] + allowed)
    end = xp.concatenate([own.end[best], again.end[best]])
    return ChangePoint(fine[best], lower, upper, fine[xp.argmin(again.chi2, axis=0)], end)


def _refit(data: WhitenedLaw, candidates, true, noise, level) -> tuple[Profile, Float[Array, ""]]:
    """Fits to curves whose change point is known, the fit with this candidate and noise; and by how much the sum of
    squares at the true point exceeds the least in at most ``level`` of them."""
    xp = module_of(data.own)
    model = fitted_at(data.u, candidates[true], data.whitening, data.own)
    found = profile(data.u, candidates, data.whitening, model[..., None] + noise)
    return found, xp.quantile(found.chi2[true] - xp.min(found.chi2, axis=0), level)


def drawn_noise(scatter, whitening) -> Float[Array, "checkpoints 2 replicates"]:
    """Normal errors, whitened, of this variance at all checkpoints that count: the same draws for any dtype."""
    xp, shape = module_of(whitening), (*whitening.shape[:2], _DRAWN)
    drawn = jax.random.normal(jax.random.key(0), shape, np.float32)
    noise = xp.sqrt(scatter) * xp.asarray(drawn, whitening.dtype)
    return xp.where(xp.any(whitening != 0, axis=(-1, -2))[:, None, None], noise, 0)


def resampled_noise(
    whitening, away: Float[Array, "replicates checkpoints 2"]
) -> Float[Array, "checkpoints 2 replicates"]:
    """What makes replicates differ from the law, whitened and held within `_REACH`."""
    xp = module_of(away)
    away = product("cij,rcj->rci", whitening, away)
    away = xp.where(xp.isfinite(away), away, 0)
    length = xp.linalg.norm(away, axis=-1, keepdims=True)
    return xp.moveaxis(away * xp.minimum(1, _REACH / xp.where(length > 0, length, 1)), 0, -1)
