"""`tsl.noise_model`: the noise that many curves at the same checkpoints share, from their residuals."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import is_traced, whole_number
from ..curves import Family
from ..jax_switches import with_own_switches
from .checks import check_input
from .kernel_choice import with_chosen_kernel
from .noise import MOST_CORRELATION, POINTS_A_PARAMETER, NoiseModel, correlation_of, own_noise
from .noise_sample import FittedRows, Sample, fitted_rows, sample_of
from .options import FitOptions

#: Curves of which the noise is estimated, evenly chosen from those given; and fewest.
MOST_CURVES, FEWEST_CURVES = 4096, 32
#: Correlations are added up, from the nearest on, as long as they are above this.
_SEEN = 0.05
#: Halvings of the interval in which the level of the correlation lies.
_HALVINGS = 12
#: A standard deviation at one checkpoint is not taken for smaller than this fraction of the mean one.
_LEAST_STD = 1e-3


class TooFewCurvesError(ValueError):
    """Too few curves have residuals that say something of the noise."""


def noise_model(
    family: Family,
    time: Float[Array, " checkpoints"],
    losses: Float[Array, "curves checkpoints"],
    weights: Float[Array, "curves checkpoints"] | None = None,
    *,
    options: FitOptions = FitOptions(),
    seed: int = 0,
) -> NoiseModel:
    """Estimate the noise of losses from a sample of curves: correlation between checkpoints, variance along training.

    The curves are fitted. The standard deviation along training is that of their residuals, each curve's over its own,
    corrected for what the fits take out. The correlation along training follows the sum of the residuals'
    correlations with their neighbours, ``1 + 2 Σ_l r_l = (1 + ρ)/(1 - ρ)`` for an autoregression; its level is the one
    at which draws from the model, after a fit has taken its part, show the correlation between neighbours that
    residuals show. Misfit of the law counts as noise. How much curves differ from one another is what they differ
    beyond draws from the model.

    Args:
        family: what is fitted, such as ``Sigmoid()``.
        time: (checkpoints,) axis values.
        losses: (curves, checkpoints) in nat, at least 32 curves that can be fitted; of more than 4,096 evenly chosen
            ones are used.
        weights: as in `tsl_jax.fit`.
        options: how they are fitted.
        seed: of the draws from the model.

    Returns:
        `NoiseModel`, for `tsl_jax.fit` and `tsl_jax.fit_store`.

    Raises:
        TypeError: losses or time are not real floating-point numbers.
        ValueError: shapes disagree; or, as its subclass `TooFewCurvesError`, fewer than 32 curves have residuals to
            learn from.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> step, rng = np.geomspace(10.0, 1e4, 64), np.random.default_rng(0)
        >>> noise = rng.standard_normal((512, 64))
        >>> for i in range(1, 64):
        ...     noise[:, i] = 0.6 * noise[:, i - 1] + 0.8 * noise[:, i]
        >>> truth = {"learning_time": 300.0, "sharpness": 3.0, "loss_drop": 5.0, "final_loss": 2.0}
        >>> losses = tsl.Sigmoid().curve(step, truth) + 0.2 * noise
        >>> model = tsl.noise_model(tsl.Sigmoid(), step, losses.astype("float32"))
        >>> round(float(model.lag_mean), 1)
        0.6

    Source: an antedependence of first order (Gabriel 1962), by moments and simulation (Gouriéroux, Monfort and
    Renault 1993).
    """
    return model_of_sample(family, time, losses, weights, options=options, seed=seed)


@with_own_switches
def model_of_sample(
    family: Family,
    time,
    losses,
    weights,
    *,
    options: FitOptions,
    seed: int = 0,
    fitted: Callable[..., FittedRows] = fitted_rows,
) -> NoiseModel:
    """`noise_model`, by a program of the caller's for `fitted_rows`."""
    values, losses, weights = check_input(family, time, losses, weights, options)
    if any(map(is_traced, (values, losses, weights))):
        raise TypeError("losses: got an array that JAX is tracing, expected values that are known; call this outside")
    options = with_chosen_kernel(family, options, jnp.promote_types(losses.dtype, jnp.float32))
    if losses.ndim != 2:
        raise ValueError(f"losses: got shape {losses.shape}, expected (curves, checkpoints)")
    seed = whole_number("seed", seed, 0)
    chosen = np.unique(np.linspace(0, len(losses) - 1, min(len(losses), MOST_CURVES)).round().astype(int))
    rows = [np.asarray(losses[chosen])]
    if weights is not None:
        rows.append(np.broadcast_to(weights if weights.ndim == 1 else weights[chosen], rows[0].shape))
    sample = sample_of(fitted, family, options, values, *rows)
    if len(sample.residuals) < FEWEST_CURVES:
        raise TooFewCurvesError(
            f"losses: {len(sample.residuals)} of {len(chosen)} curves have residuals to learn from, expected at least "
            f"{FEWEST_CURVES}; give more curves, or fit with noise=None"
        )
    return _matched(sample, np.asarray(values), len(family.names), np.random.default_rng(seed))


def _matched(sample: Sample, time: np.ndarray, size: int, rng: np.random.Generator) -> NoiseModel:
    """The model whose draws, after fits, look like the residuals."""
    e, q, measured = sample
    number = np.maximum(measured.sum(axis=0), 1)
    taken = np.sum(np.square(q), axis=(0, 2)) / number  # the fraction of the variance that fits take out
    std = np.sqrt(np.sum(np.square(e), axis=0) / number / np.clip(1 - taken, 0.2, 1))
    seen = measured.any(axis=0)
    std = std / np.sqrt(np.mean(np.square(std[seen])))
    std = np.where(seen, np.maximum(std, _LEAST_STD), 1)  # nothing is known where no curve was measured
    std = std / np.sqrt(np.mean(np.square(std)))
    odds = _odds_along(e, measured)
    normal = rng.standard_normal(e.shape)

    def drawn(level):
        correlation = np.minimum(correlation_of(level * odds), MOST_CORRELATION)
        noise = std * _autoregression(normal, correlation)
        noise = (noise - np.einsum("cik,ck->ci", q, np.einsum("cik,ci->ck", q, noise))) * measured
        return correlation, _own(noise, measured, std, size)

    shown = _own(e, measured, std, size)
    least, most = np.log(0.25), np.log(64.0)
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        lower = np.mean(drawn(np.exp(middle))[1][0]) < np.mean(shown[0])
        least, most = (middle, most) if lower else (least, middle)
    correlation, model = drawn(np.exp((least + most) / 2))
    differ = [max(np.var(a) - np.var(b), 0.0) for a, b in zip(shown, model, strict=True)]
    values: dict[str, Any] = {
        "time": time,
        "std": std,
        "correlation": correlation,
        "lag_mean": np.clip(np.mean(model[0]), -0.5, MOST_CORRELATION),
        "lag_variance": differ[0],
        "growth_mean": np.mean(model[1]),
        "growth_variance": differ[1],
    }
    return NoiseModel(**{name: np.asarray(value) for name, value in values.items()})  # type: ignore[arg-type]


def _odds_along(e: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(checkpoints - 1,) ``1 + 2 Σ_l r_l`` around each interval, smoothed."""
    n = e.shape[1]
    there = measured.astype(np.float64)
    products = (e.T @ e) / np.maximum(there.T @ there, 1)
    scale = np.sqrt(np.maximum(np.diag(products), np.finfo(np.float64).tiny))
    r = products / np.outer(scale, scale)
    total, going = np.zeros(n - 1), np.ones(n - 1, bool)
    for lag in range(1, n):
        first = np.arange(n - 1) - (lag - 1) // 2
        inside = (first >= 0) & (first + lag < n)
        value = np.where(inside, r[np.clip(first, 0, n - 1), np.clip(first + lag, 0, n - 1)], 0)
        going &= value > _SEEN
        if not going.any():
            break
        total += np.where(going, value, 0)
    hats = _hats(n - 1, min(6, 1 + n // 16))
    return np.maximum(hats @ np.linalg.lstsq(hats, 1 + 2 * total, rcond=None)[0], 1)


def _autoregression(normal: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """(curves, checkpoints) noise of variance 1 with these correlations between neighbours."""
    noise = normal.copy()
    for i, rho in enumerate(correlation):
        noise[:, i + 1] = rho * noise[:, i] + np.sqrt(1 - rho * rho) * normal[:, i + 1]
    return noise


def _hats(number: int, knots: int) -> np.ndarray:
    """(number, knots) hat functions: piecewise linear between evenly spaced knots."""
    if knots == 1:
        return np.ones((number, 1))
    place = np.linspace(0, knots - 1, number)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(knots)))


def _own(residuals, measured, std, size) -> tuple[np.ndarray, np.ndarray]:
    """Correlation and growth that each curve shows of itself."""
    e = residuals / std
    last = np.where(measured, np.arange(e.shape[1]), -1)
    last = np.maximum.accumulate(last, axis=1)
    before = np.take_along_axis(e, np.maximum(np.concatenate([np.full((len(e), 1), -1), last[:, :-1]], 1), 0), 1)
    before[:, 0] = 0
    z = np.linspace(-1, 1, e.shape[1])  # as `leaning`
    sums = (e * e).sum(1), (e * before).sum(1), np.abs(e).sum(1), (z * np.abs(e)).sum(1)
    number = measured.sum(1)
    known = number >= POINTS_A_PARAMETER * size
    own, slope = own_noise(size, number[known], *(values[known] for values in sums))
    return own, slope.astype(np.float32)
