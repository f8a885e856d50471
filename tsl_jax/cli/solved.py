"""How good fits are, judged by another program: SciPy's bounded least squares from several starts."""

import dataclasses
import time

import numpy as np

from ..fitting import has_parameters
from ..jobs import family_of
from ..store import FitStore, LossStore

SAMPLE, WITHIN = 100, 0.01
_CENTRES, _SHARPNESSES = (0.2, 0.5, 0.8), (6.0, 20.0, 60.0)
STARTS = len(_CENTRES) * len(_SHARPNESSES)


@dataclasses.dataclass(frozen=True)
class Solved:
    """Sampled fits against the best that SciPy finds for the same losses within the same bounds.

    Attributes:
        sampled: tokens compared, drawn at random from those with parameters.
        solved: of these, tokens whose rss is at most ``1 + WITHIN`` times SciPy's best.
        starts: SciPy's starts a token.
        seconds: it took.
    """

    sampled: int
    solved: int
    starts: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Share of the sampled tokens that are solved; NaN without a sample."""
        return self.solved / self.sampled if self.sampled else float("nan")


def solved_by_scipy(losses: LossStore, fits: FitStore, *, sample: int = SAMPLE, seed: int = 0) -> Solved:
    """Compare a random sample of a small store's sigmoids with SciPy's best; plain least squares only.

    Args:
        losses: the loss store.
        fits: its fit store, of sigmoids without a Huber threshold.
        sample: tokens to compare.
        seed: of the draw.
    """
    begun = time.perf_counter()
    stored = fits.read()
    usable = np.flatnonzero(has_parameters(stored.status))
    chosen = np.sort(np.random.default_rng(seed).permutation(usable)[:sample])
    used = np.setdiff1d(np.arange(fits.num_checkpoints), fits.left_out_checkpoints)
    axis = fits.axis()[used]
    u = np.log(axis) if fits.scale == "log" else axis
    x = (u - u[0]) / (u[-1] - u[0])
    family = family_of(fits)
    shape_bounds = [np.asarray(each, float) for each in family.bounds(np.float32(x))]  # type: ignore[arg-type]
    solved = 0
    for rss, measured in zip(stored.rss[chosen], losses.read()[chosen].astype(float)[:, used], strict=True):
        there = np.isfinite(measured)
        best = best_rss(x[there], measured[there], shape_bounds, fits.options)
        solved += bool(rss <= (1 + WITHIN) * best)
    return Solved(len(chosen), solved, STARTS, time.perf_counter() - begun)


def best_rss(x: np.ndarray, losses: np.ndarray, shape_bounds: list[np.ndarray], options) -> float:
    """Least rss of one sigmoid from `STARTS` starts; its parameters: plateaus, centre, ln sharpness."""
    from scipy.optimize import least_squares
    from scipy.special import expit

    floor, ratio = options["min_plateau"], options["max_plateau_ratio"]
    least = -np.inf if floor is None else floor
    most = np.inf if ratio is None else max(ratio * losses[0], least + 1e-9)
    bounds = np.array([least, least, *shape_bounds[0]]), np.array([most, most, *shape_bounds[1]])

    def residual(p):
        return p[1] + (p[0] - p[1]) * expit(-np.exp(p[3]) * (x - p[2])) - losses

    def jacobian(p):
        k = np.exp(p[3])
        before = expit(-k * (x - p[2]))
        slope = (p[0] - p[1]) * before * (1 - before) * k
        return np.stack([before, 1 - before, slope, -slope * (x - p[2])], axis=1)

    edge = max(1, len(losses) // 8)
    plateaus = losses[:edge].mean(), losses[-edge:].mean()
    best = np.inf
    for centre in _CENTRES:
        for sharpness in _SHARPNESSES:
            start = np.clip([*plateaus, centre, np.log(sharpness)], bounds[0] + 1e-6, bounds[1] - 1e-6)
            best = min(best, 2 * least_squares(residual, start, jacobian, bounds, max_nfev=200).cost)  # type: ignore[arg-type]
    return best
