"""The best known rss of each curve, and what counts as solved.

For sigmoids the definition is SciPy's: `scipy.optimize.least_squares` (trust region, float64, analytic Jacobian) from
9 or more starts, inside the engine's own bounds. `benchmarks search` finds the same minima or better ones, about a
hundred times faster; `tests/fitting/test_quality.py` holds it against the definition. Both use nothing of `tsl_jax` but
the bounds of θ. Hyperbolas and power laws have one θ only, whose whole range `benchmarks search_one` goes through.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import expit

from .models import MODELS
from .problems import Problem, sigmoid
from .search import bounded_plateaus, positions, search
from .search_one import search_one
from .tolerances import ROUNDING_UNITS, SOLVED_RATIO


@dataclasses.dataclass(frozen=True)
class Best:
    """The best bounded curve known for each row: rss (curves,), plateaus f, b (curves, 2) and θ (curves, θ)."""

    rss: NDArray
    plateaus: NDArray
    theta: NDArray

    def __getitem__(self, curves) -> "Best":
        return Best(self.rss[curves], self.plateaus[curves], self.theta[curves])

    def params(self, problem: Problem) -> dict[str, NDArray]:
        """The sigmoids' named parameters."""
        unit = problem.u[-1] - problem.u[0]
        u_learn = problem.u[0] + unit * self.theta[:, 0]
        return {
            "learning_time": np.exp(u_learn) if problem.scale == "log" else u_learn,
            "sharpness": np.exp(self.theta[:, 1]) / unit,
            "loss_drop": self.plateaus[:, 1] - self.plateaus[:, 0],
            "final_loss": self.plateaus[:, 0],
        }


def theta_bounds(problem: Problem) -> tuple[NDArray, NDArray]:
    """The engine's bounds of θ for this problem, (θ,) each."""
    import jax.numpy as jnp

    from tsl_jax.curves import FAMILIES

    family = FAMILIES[problem.family](scale=problem.scale)
    lower, upper = family.bounds(jnp.asarray(MODELS[problem.family].coordinate(problem)))
    return np.asarray(lower, float), np.asarray(upper, float)


def best_known(problem: Problem, **options) -> Best:
    """Best rss of each curve by exhaustive search; the best constant where no sigmoid is better."""
    if problem.family != "sigmoid":
        x = MODELS[problem.family].coordinate(problem)
        return Best(*search_one(problem.family, x, problem.losses, *theta_bounds(problem)))
    best = Best(*search(problem.x, problem.losses, *theta_bounds(problem), **options))
    losses = problem.losses.astype(float)
    constant = np.maximum(losses.mean(1), 0)
    flat = ((losses - constant[:, None]) ** 2).sum(1) < best.rss
    plateaus = np.where(flat[:, None], constant[:, None], best.plateaus)
    return Best(np.where(flat, ((losses - constant[:, None]) ** 2).sum(1), best.rss), plateaus, best.theta)


def scipy_best(problem: Problem, num_starts: int = 9, random_starts: int = 0, seed: int = 0) -> Best:
    """Best of SciPy's bounded least squares from many starts, curve by curve.

    Starts: at `num_starts` / 3 sharpnesses from one window to one interval, the three lowest minima of the
    rss over the event time; then `random_starts` drawn uniformly over the bounds (θ₀ within a tenth of the
    window).
    """
    lower, upper = theta_bounds(problem)
    x, rng = problem.x, np.random.default_rng(seed)
    levels = np.log(np.geomspace(6, 4 * len(x), num_starts // 3))
    fits = []
    for losses in problem.losses.astype(float):
        random = rng.uniform([-0.1, lower[1]], [1.1, upper[1]], (random_starts, 2))
        fits.append(_fit_one(x, losses, [*_starts(x, losses, levels, lower, upper), *random], lower, upper))
    return Best(*(np.array(values) for values in zip(*fits, strict=True)))


def _starts(x, losses, levels, lower, upper):
    for level in np.clip(levels, lower[1], upper[1]):
        centres = positions(x, np.exp(level), lower[0], upper[0], step=0.5)
        _, rss = _linear_part(x, losses, centres[:, None], level)
        padded = np.pad(rss, 1, constant_values=np.inf)
        minima = np.flatnonzero((rss <= padded[:-2]) & (rss <= padded[2:]))
        for index in minima[np.argsort(rss[minima])][:3]:
            yield np.array([centres[index], level])


def _linear_part(x, losses, centre, log_sharpness):
    """Best plateaus (..., 2) and their rss for given θ."""
    z = np.exp(log_sharpness) * (x - centre)
    s, rest = expit(-z), expit(z)
    sums = (rest * rest, rest * s, s * s, losses * rest, losses * s)
    f, b = bounded_plateaus(*(product.sum(-1) for product in sums))
    return np.stack([f, b], -1), ((losses - f[..., None] * rest - b[..., None] * s) ** 2).sum(-1)


def _fit_one(x, losses, starts, lower, upper):
    def parts(p):
        z = np.exp(p[3]) * (x - p[2])
        return z, expit(-z), expit(z)

    def residual(p):
        _, s, rest = parts(p)
        return p[0] * rest + p[1] * s - losses

    def jacobian(p):
        z, s, rest = parts(p)
        slope = (p[1] - p[0]) * s * rest
        return np.stack([rest, s, slope * np.exp(p[3]), -slope * z], 1)

    box = (np.array([0, 0, *lower]), np.array([np.inf, np.inf, *upper]))
    best = (np.inf, np.zeros(4))
    for theta in starts:
        plateaus, _ = _linear_part(x, losses, theta[0], theta[1])
        start = np.clip([*np.maximum(plateaus, 1e-3), *theta], box[0] + 1e-9, box[1] - 1e-9)
        found = least_squares(
            residual,
            start,
            jacobian,  # pyright: ignore[reportArgumentType]
            box,
            ftol=1e-10,
            xtol=1e-10,
            gtol=1e-12,
            max_nfev=200,
        )
        best = min(best, (2 * found.cost, found.x), key=lambda pair: pair[0])
    rss, p = best
    return rss, p[:2], p[2:]


def rss_of(problem: Problem, params: dict[str, NDArray]) -> NDArray:
    """(curves,) rss in float64 of a family's named parameters, NaN where they are."""
    columns = {name: np.asarray(value, float)[:, None] for name, value in params.items()}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        curve = _CURVES[problem.family](problem, **columns)
        return ((problem.losses.astype(float) - curve) ** 2).sum(1)


def _sigmoid_curve(problem: Problem, learning_time, sharpness, loss_drop, final_loss):
    u_learn = np.log(learning_time) if problem.scale == "log" else learning_time
    return sigmoid(problem.u, u_learn, sharpness, loss_drop, final_loss)


#: Each law from its named parameters (curves, 1), in NumPy.
_CURVES = {
    "sigmoid": _sigmoid_curve,
    "hyperbola": lambda problem, amplitude, rate, floor: amplitude / (1 + rate * problem.time) + floor,
    "power_law": lambda problem, coefficient, exponent, floor: coefficient * problem.time**-exponent + floor,
}


def with_better(problem: Problem, best: Best, params: dict[str, NDArray]) -> Best:
    """The best known after another method, which keeps to the same bounds, has given its parameters."""
    rss = rss_of(problem, {name: value[: len(best.rss)] for name, value in params.items()})
    return dataclasses.replace(best, rss=np.fmin(best.rss, rss))


def rounding_floor(problem: Problem, best: Best) -> NDArray:
    """(curves,) rss below which the input's precision cannot tell fits apart.

    Every loss is known to a few eps of the largest (or of 1 nat: nobody needs it better than that), every
    checkpoint's u to a few eps of the largest |u|, which moves the curve by its slope:
    ``Σ (units·eps)² (max|loss|² + (max|u|·dloss/du)²)``.
    """
    eps = np.finfo(problem.losses.dtype).eps
    largest = np.maximum(np.abs(problem.losses).max(1).astype(float), 1)
    if problem.family != "sigmoid":  # nowhere steep: their checkpoints' rounding adds nothing
        return (ROUNDING_UNITS * eps) ** 2 * len(problem.time) * largest**2
    unit = problem.u[-1] - problem.u[0]
    sharpness = np.exp(best.theta[:, 1:])
    z = sharpness * (problem.x - best.theta[:, :1])
    slope = (best.plateaus[:, 1] - best.plateaus[:, 0])[:, None] * sharpness / unit * expit(z) * expit(-z)
    moved = np.abs(problem.u).max() * slope
    return (ROUNDING_UNITS * eps) ** 2 * (len(problem.time) * largest**2 + (moved**2).sum(1))


def solved(problem: Problem, rss: NDArray, best: Best) -> NDArray:
    """(curves,) whether the rss is within 1% of the best known or at the floor of the input's precision."""
    return np.asarray(rss, float) <= SOLVED_RATIO * best.rss + rounding_floor(problem, best)
