"""Bounded sigmoid fits by exhaustive search in NumPy, float64: dense templates, then a polish.

Slow and simple on purpose, and independent of `tsl_jax`: it is what the engine is judged by. Curves are
``f·(1 - s) + b·s`` with ``s = σ(-exp(θ₁)·(x - θ₀))`` and both plateaus, ``f`` after and ``b`` before, at 0 or
above.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_LEVEL_RATIO = 1.3  # between neighbouring sharpnesses
_STEP = 1.0  # of θ₀ in units of 1/sharpness
_REACH = 10  # in 1/sharpness, from the nearest checkpoint; further off s is 0, 1 or a pure exponential
_MINIMA_PER_LEVEL = 4
_FINALISTS = 6
_TINY = 1e-150


def search(x: NDArray, losses: NDArray, lower: NDArray, upper: NDArray, num_minima: int = 12, steps: int = 300):
    """The best bounded sigmoid for each curve.

    Args:
        x: (checkpoints,) standardised coordinate.
        losses: (curves, checkpoints).
        lower, upper: (2,) bounds of θ.
        num_minima: distinct minima of the templates' rss to polish.
        steps: most Levenberg-Marquardt steps of the polish.

    Returns:
        rss (curves,), plateaus (curves, 2) as ``f, b``, and θ (curves, 2).
    """
    block = max(1, 6_000_000 // (len(x) * 40))
    parts = [
        _search_block(x, losses[start : start + block].astype(float), lower, upper, num_minima, steps)
        for start in range(0, len(losses), block)
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _search_block(x, losses, lower, upper, num_minima, steps):
    theta = _distinct(*_minima(x, losses, lower, upper), num_minima)
    # Six steps tell the basins apart; the best few go on to the end.
    for keep, most_steps in ((_FINALISTS, 6), (1, steps)):
        starts = theta.shape[1]
        repeated = np.repeat(losses, starts, 0)
        rss, plateaus, theta = polish(x, repeated, theta.reshape(-1, 2), lower, upper, most_steps)
        rss, plateaus, theta = (values.reshape(len(losses), starts, -1) for values in (rss, plateaus, theta))
        order = np.argsort(rss, axis=1)[:, :keep]
        rss, plateaus, theta = (np.take_along_axis(values, order, 1) for values in (rss, plateaus, theta))
    return rss[:, 0, 0], plateaus[:, 0], theta[:, 0]


def positions(x: NDArray, sharpness: float, lower: float, upper: float, step: float = _STEP) -> NDArray:
    """θ₀ of the templates of one sharpness: a lattice fine against 1/sharpness, near the checkpoints only."""
    spacing = min(step / sharpness, 0.1)
    reach = np.arange(-np.ceil(_REACH / sharpness / spacing), np.ceil(_REACH / sharpness / spacing) + 1)
    lattice = np.unique(np.round(x / spacing)[:, None] + reach) * spacing
    return lattice[(lattice >= lower) & (lattice <= upper)]


def _minima(x, losses, lower, upper):
    """The best few local minima over θ₀ of every sharpness' templates: rss and θ, (curves, minima)."""
    num_levels = int(np.ceil((upper[1] - lower[1]) / np.log(_LEVEL_RATIO))) + 1
    rss, theta = [], []
    for log_sharpness in np.linspace(lower[1], upper[1], num_levels):
        centres = positions(x, np.exp(log_sharpness), lower[0], upper[0])
        level = _template_rss(expit(-np.exp(log_sharpness) * (x - centres[:, None])), losses)
        padded = np.pad(level, ((0, 0), (1, 1)), constant_values=np.inf)
        is_minimum = (level <= padded[:, :-2]) & (level <= padded[:, 2:])
        level = np.where(is_minimum, level, np.inf)
        count = min(_MINIMA_PER_LEVEL, len(centres))
        index = np.argpartition(level, count - 1, axis=1)[:, :count]
        rss.append(np.take_along_axis(level, index, 1))
        theta.append(np.stack([centres[index], np.full(index.shape, log_sharpness)], -1))
    return np.concatenate(rss, 1), np.concatenate(theta, 1)


def _template_rss(s, losses):
    """Least rss of every curve (row) for every template (column), plateaus at 0 or above."""
    num = losses.shape[1]
    mean, y2 = losses.mean(1)[:, None], (losses**2).sum(1)[:, None]
    s_mean = s.mean(1)
    s_var = np.maximum(((s - s_mean[:, None]) ** 2).sum(1), _TINY)
    before, after = np.maximum((s**2).sum(1), _TINY), np.maximum(((1 - s) ** 2).sum(1), _TINY)
    with_s = losses @ s.T
    slope = (with_s - num * mean * s_mean) / s_var
    free = y2 - num * mean**2 - slope**2 * s_var
    f = mean - slope * s_mean
    infeasible = (f < 0) | (f + slope < 0)
    only_before = np.maximum(with_s, 0) ** 2 / before
    only_after = np.maximum(num * mean - with_s, 0) ** 2 / after
    return np.where(infeasible, y2 - np.maximum(only_before, only_after), free)


def _distinct(rss, theta, num_minima):
    """θ of the best minima that lie in different basins, (curves, num_minima, 2)."""
    rows = np.arange(len(rss))
    rss, chosen = rss.copy(), []
    for _ in range(num_minima):
        best = theta[rows, rss.argmin(1)]
        chosen.append(best)
        sharpness = np.exp(np.minimum(theta[..., 1], best[:, None, 1]))
        near = np.abs(theta[..., 0] - best[:, None, 0]) * sharpness < 1.5
        near &= np.abs(theta[..., 1] - best[:, None, 1]) < 0.8
        rss[near] = np.inf
    return np.stack(chosen, 1)


def polish(x, losses, theta, lower, upper, steps):
    """Projected Levenberg-Marquardt on θ, the plateaus eliminated in closed form, all curves at once."""
    theta = np.clip(theta, lower, upper)
    rss, plateaus, gradient, hessian = _evaluate(x, losses, theta)
    damping = np.full(len(theta), 1e-3)
    active = np.arange(len(theta))
    for _ in range(steps):
        now = theta[active]
        step = _damped_step(now, gradient[active], hessian[active], damping[active], lower, upper)
        trial = np.clip(now + step, lower, upper)
        new = _evaluate(x, losses[active], trial)
        old_rss = rss[active]
        better = new[0] < old_rss
        kept = active[better]
        theta[kept] = trial[better]
        for array, value in zip((rss, plateaus, gradient, hessian), new, strict=True):
            array[kept] = value[better]
        damping[active] = np.where(better, damping[active] * 0.2, damping[active] * 5)
        small_gain = better & (old_rss - new[0] < 1e-9 * old_rss) & (damping[active] < 1)
        active = active[~small_gain & (damping[active] < 1e12)]
        if not len(active):
            break
    return rss, plateaus, theta


def _evaluate(x, losses, theta):
    """rss, plateaus (f, b), gradient and Gauss-Newton matrix in θ at the best plateaus."""
    sharpness = np.exp(theta[:, 1:])
    z = sharpness * (x - theta[:, :1])
    s, rest = expit(-z), expit(z)
    aa, ab, bb = (rest * rest).sum(1), (rest * s).sum(1), (s * s).sum(1)
    ya, yb = (losses * rest).sum(1), (losses * s).sum(1)
    f, b = bounded_plateaus(aa, ab, bb, ya, yb)
    residual = losses - f[:, None] * rest - b[:, None] * s
    slope = (b - f)[:, None] * s * rest
    columns = np.stack([slope * sharpness, -slope * z], 1)  # (curves, 2, checkpoints)
    gradient = np.einsum("ckt,ct->ck", columns, residual)
    with_a, with_b = np.einsum("ckt,ct->ck", columns, rest), np.einsum("ckt,ct->ck", columns, s)
    # Inverse of the normal matrix of the plateaus that are free, 0 for those at their bound.
    det = aa * bb - ab**2
    both = (f > 0) & (b > 0) & _independent(det, aa, bb)
    safe = np.where(both, det, 1)
    i_aa = np.where(both, bb / safe, np.where(f > 0, 1 / np.maximum(aa, _TINY), 0))
    i_bb = np.where(both, aa / safe, np.where((b > 0) & (f <= 0), 1 / np.maximum(bb, _TINY), 0))
    i_ab = np.where(both, -ab / safe, 0)
    hessian = np.einsum("cit,cjt->cij", columns, columns)
    pairs = ((with_a, with_a, i_aa), (with_b, with_b, i_bb), (with_a, with_b, i_ab), (with_b, with_a, i_ab))
    for left, right, inverse in pairs:
        hessian -= left[:, :, None] * right[:, None, :] * inverse[:, None, None]
    return (residual**2).sum(1), np.stack([f, b], 1), gradient, hessian


def bounded_plateaus(aa, ab, bb, ya, yb):
    """Two-parameter least squares with both parameters at 0 or above, from its sums."""
    det = aa * bb - ab**2
    independent = _independent(det, aa, bb)
    safe = np.where(independent, det, np.inf)
    f, b = (bb * ya - ab * yb) / safe, (aa * yb - ab * ya) / safe
    only_f, only_b = np.maximum(ya, 0) / np.maximum(aa, _TINY), np.maximum(yb, 0) / np.maximum(bb, _TINY)
    f_is_better = only_f * np.maximum(ya, 0) >= only_b * np.maximum(yb, 0)
    feasible = (f >= 0) & (b >= 0) & independent
    return (
        np.where(feasible, f, np.where(f_is_better, only_f, 0)),
        np.where(feasible, b, np.where(f_is_better, 0, only_b)),
    )


def _independent(det, aa, bb):
    return det > 1e-14 * aa * bb + _TINY


def _damped_step(theta, gradient, hessian, damping, lower, upper):
    """Marquardt's step in the coordinates that no bound blocks."""
    free = ~(((theta <= lower) & (gradient < 0)) | ((theta >= upper) & (gradient > 0)))
    diagonal = np.maximum(np.einsum("cii->ci", hessian), 0)
    damped = diagonal * (1 + damping[:, None]) + 1e-12 * diagonal.max(1, keepdims=True) + _TINY
    off = hessian[:, 0, 1] * (free[:, 0] & free[:, 1])
    g = gradient * free
    det = damped[:, 0] * damped[:, 1] - off**2
    step = np.stack([damped[:, 1] * g[:, 0] - off * g[:, 1], damped[:, 0] * g[:, 1] - off * g[:, 0]], 1)
    step = np.where(det[:, None] > 0, step / np.where(det > 0, det, 1)[:, None], g / damped)
    # No further than half a window or a factor of e in one step.
    return np.clip(np.where(free, step, 0), [-0.5, -1.0], [0.5, 1.0])
