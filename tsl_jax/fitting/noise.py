"""The noise of losses: what is taken for granted of it, and what a curve's own residuals say."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import is_traced
from ..jax_switches import with_own_switches
from ..linalg.known import module_of
from ..pytrees import pytree

#: Correlations between neighbouring checkpoints stay below this: closer to 1 no number of points tells noise from law.
MOST_CORRELATION = 0.97
#: A curve's own residuals say something of its noise from this many points a parameter on.
POINTS_A_PARAMETER = 3
#: Variances of the curves' own correlation and growth that leave nothing to what is taken for granted.
_ANY = 1e6
#: Sampling variance of `growth` times the number of points, for independent Gaussian noise: 9 (π/2 - 1) / 3.
GROWTH_VARIANCE = 1.7


@pytree
class NoiseModel:
    """Noise of many curves at the same checkpoints: how it varies along training, and how much from curve to curve.

    Between checkpoints i < j, relative to a curve's own variance, the covariance of the noise is

        ``std_i std_j Π_{i ≤ k < j} correlation_k``,

    an autoregression of first order whose coefficient varies, as it must where checkpoints are unevenly spaced.

    Curves differ. The mean correlation between neighbours is normal over curves around `lag_mean` with variance
    `lag_variance`; the slope of ln(std) beyond the model's, from the middle of training to its end, has the variance
    `growth_variance`. A fit takes the posterior mean given the curve's own residuals (empirical Bayes).

    Made by `tsl_jax.noise_model`; taken by `tsl_jax.fit` and `tsl_jax.fit_store`.

    Attributes:
        time: (checkpoints,) axis values that it is for.
        std: (checkpoints,) standard deviation along training, its mean square 1.
        correlation: (checkpoints - 1,) between neighbours.
        lag_mean: correlation between neighbours, the mean over curves.
        lag_variance: its variance between curves.
        growth_mean: slope of ln(std) that residuals show beside the model's, the mean over curves.
        growth_variance: its variance between curves.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> step = np.geomspace(10.0, 1e4, 32)
        >>> truth = {"learning_time": 300.0, "sharpness": 3.0, "loss_drop": 5.0, "final_loss": 2.0}
        >>> noise = 0.1 * np.random.default_rng(0).standard_normal((64, 32))
        >>> losses = tsl.Sigmoid().curve(step, truth) + noise.astype("float32")
        >>> model = tsl.noise_model(tsl.Sigmoid(), step, losses)
        >>> tsl.NoiseModel.from_dict(model.as_dict()).correlation.shape
        (31,)
    """

    time: Float[Array, " checkpoints"]
    std: Float[Array, " checkpoints"]
    correlation: Float[Array, " intervals"]
    lag_mean: Float[Array, ""]
    lag_variance: Float[Array, ""]
    growth_mean: Float[Array, ""]
    growth_variance: Float[Array, ""]

    def as_dict(self) -> dict[str, Any]:
        """Numbers and lists as JSON can hold them, to the last bit."""
        return {field.name: np.asarray(getattr(self, field.name)).tolist() for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NoiseModel":
        """The model that `as_dict` wrote.

        Raises:
            ValueError: a name is missing, or arrays do not fit together.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if sorted(values) != sorted(names):
            raise ValueError(f"noise: got {sorted(values)}, expected {sorted(names)}")
        model = cls(**{name: np.asarray(values[name], np.float64) for name in names})  # type: ignore[arg-type]
        number = model.time.size
        shapes = {"time": (number,), "std": (number,), "correlation": (number - 1,)}
        for name in names:
            array = np.asarray(getattr(model, name))
            if array.shape != shapes.get(name, ()) or not np.all(np.isfinite(array)):
                raise ValueError(
                    f"noise.{name}: got shape {array.shape}, expected finite numbers of shape {shapes.get(name, ())}"
                )
        return model


class Noise(NamedTuple):
    """What is taken for granted of a block's noise, as the kernels take it."""

    std: Float[Array, " checkpoints"]
    odds: Float[Array, " checkpoints"]  # (1 + ρ) / (1 - ρ) with ρ the correlation to the checkpoint before
    scalars: Float[Array, " 4"]  # lag_mean, lag_variance, growth_mean, growth_variance


@with_own_switches
def degrees_of_freedom(correlation, num_points, size: int = 4):
    """Degrees of freedom of a curve's standard errors, ``n (1 - ρ²)/(1 + ρ²) - p``, at least 1.

    As many independent points as the first term says estimate a variance as well as n points with correlation ρ between
    neighbours.

    Args:
        correlation: ρ, between neighbouring checkpoints (`Fit.noise_correlation`), of any shape.
        num_points: n, measured points of each curve, likewise.
        size: p, parameters of a curve; by default those of a sigmoid.

    Example:
        >>> import jax.numpy as jnp
        >>> degrees_of_freedom(jnp.array([0.0, 1.0]), 64).tolist()
        [60.0, 1.0]

    Source: Bartlett 1946.
    """
    xp = jnp if is_traced(num_points) else module_of(correlation)
    square = xp.square(correlation)
    number = num_points if xp is jnp else np.asarray(num_points, square.dtype)  # as JAX promotes them
    return xp.maximum(number * (1 - square) / (1 + square) - size, 1)


def odds_of(correlation):
    """``(1 + ρ) / (1 - ρ)``: how many correlated points say of a mean what an independent one does."""
    return (1 + correlation) / (1 - correlation)


def correlation_of(odds):
    """The inverse of `odds_of`."""
    return (odds - 1) / (odds + 1)


def assumed_noise(kind: str, model: NoiseModel | None, num_checkpoints: int, dtype) -> Noise:
    """What is taken for granted: a model's noise, independent noise, or nothing but what a curve itself shows."""
    ones = jnp.ones(num_checkpoints, dtype)
    if kind == "independent":
        return Noise(ones, ones, jnp.zeros(4, dtype))
    if model is None:
        return Noise(ones, ones, jnp.asarray([0, _ANY, 0, _ANY], dtype))
    odds = jnp.concatenate([ones[:1], odds_of(jnp.asarray(model.correlation, dtype))])
    scalars = [model.lag_mean, model.lag_variance, model.growth_mean, model.growth_variance]
    return Noise(
        jnp.asarray(model.std, dtype),
        odds,
        jnp.stack([jnp.asarray(value, dtype) for value in scalars]),
    )


class CurveNoise(NamedTuple):
    """The noise of each curve."""

    correlation: Float[Array, " curves"]  # between neighbouring checkpoints, the mean
    deviation: Float[Array, " curves"]  # standard deviation of what is not known of it
    growth: Float[Array, " curves"]  # of ln(std) beyond the model's, from the middle of training to its end
    odds: Float[Array, " curves"]  # factor on the model's `Noise.odds`


def curve_noise(assumed: Noise, size: int, num_points, squares, lagged, magnitudes, leaned) -> CurveNoise:
    """What residuals e over the model's std say of a curve's noise, with what is taken for granted.

    The fit of p parameters lowers the residuals' correlation between neighbours: from ρ to ``ρ - (1 + 2ρ) p / n``, to
    first order in 1/n (measured for n = 16 to 256 and ρ = 0 to 0.9, on noise alone as on planted events). That is
    undone. The slope of ln(std) follows from ``Σ z|e| / Σ|e|``, with z from -1 to 1 along training, which is
    ``coth(g) - 1/g`` for a slope g; absolute values, not squares, since tails are heavy.

    Args:
        assumed: what is taken for granted.
        size: parameters of a curve, p.
        num_points: (curves,) measured points, n.
        squares, lagged: (curves,) sums of e² and of products of neighbours.
        magnitudes, leaned: (curves,) sums of |e| and of z|e|.
    """
    lag_mean, lag_variance, growth_mean, growth_variance = assumed.scalars
    n = jnp.maximum(num_points, 1).astype(squares.dtype)
    known = (num_points >= POINTS_A_PARAMETER * size) & (squares > 0) & (magnitudes > 0)
    safe = jnp.where(known, n, POINTS_A_PARAMETER * size), jnp.where(known, squares, 1), jnp.where(known, magnitudes, 1)
    own, slope = own_noise(size, safe[0], safe[1], lagged, safe[2], leaned)
    left = 1 - 2 * size / safe[0]
    about = jnp.clip(own, 0, MOST_CORRELATION)
    sampling = (1 - about * about) / (n * left * left)
    weight = jnp.where(known, lag_variance / (lag_variance + sampling), 0)
    correlation = jnp.clip(lag_mean + weight * (own - lag_mean), jnp.minimum(lag_mean, 0), MOST_CORRELATION)
    sampling_slope = GROWTH_VARIANCE / n * (1 + about * about) / (1 - about * about)
    weight_slope = jnp.where(known, growth_variance / (growth_variance + sampling_slope), 0)
    growth = weight_slope * (slope - growth_mean)
    return CurveNoise(correlation, jnp.sqrt(weight * sampling), growth, odds_of(correlation) / odds_of(lag_mean))


def own_noise(size: int, n, squares, lagged, magnitudes, leaned):
    """What a curve's residuals alone say of its correlation between neighbours and of its slope of ln(std)."""
    xp = module_of(squares)
    correlation = (lagged / squares + size / n) / (1 - 2 * size / n)
    lean = xp.clip(xp.asarray(leaned / magnitudes, jnp.result_type(leaned)), -0.9, 0.9)
    # The inverse of coth(g) - 1/g within 5% (Cohen 1991).
    return correlation, lean * (3 - lean * lean) / (1 - lean * lean)
