"""Losses by position in the context, with a known evolution over training."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..curves import Hyperbola
from ..jax_switches import with_own_switches
from ..pytrees import pytree
from . import checks


@dataclasses.dataclass(frozen=True)
class PlantedEvolution:
    """How the position law evolves with the step t.

    ``amplitude`` and ``rate`` fall by ``slope · ln(t)`` until the separation point and are constant from there on;
    ``floor = end + fall · t^-exponent`` falls throughout.

    Args:
        amplitude: from the separation point on, nat.
        amplitude_slope: fall of the amplitude before it, nat per unit of ln(step).
        rate: from the separation point on, 1/position.
        rate_slope: fall of the rate before it, 1/position per unit of ln(step).
        separation: the separation point, steps.
        end: limit of the floor, nat.
        fall: of the floor, nat at step 1.
        exponent: of the floor.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> [round(float(rate), 3) for rate in PlantedEvolution(separation=700.0).at([700.0, 7000.0])["rate"]]
        [0.2, 0.2]

    Source: arXiv 2404.17785; the forms before the separation point are this package's choice.
    """

    amplitude: float = 2.0
    amplitude_slope: float = 0.3
    rate: float = 0.2
    rate_slope: float = 0.08
    separation: float = 700.0
    end: float = 2.0
    fall: float = 6.0
    exponent: float = 0.3

    def __post_init__(self) -> None:
        for name in ("amplitude", "rate", "separation", "exponent"):
            checks.number(name, getattr(self, name), 0.0, above=True)
        for name in ("amplitude_slope", "rate_slope", "end", "fall"):
            checks.number(name, getattr(self, name), 0.0)

    def at(self, step: ArrayLike) -> dict[str, Float[Array, " checkpoints"]]:
        """(checkpoints,) amplitude, rate and floor at steps above 0."""
        step = jnp.asarray(step, float)
        before = jnp.maximum(jnp.log(self.separation / step), 0.0)
        return {
            "amplitude": self.amplitude + self.amplitude_slope * before,
            "rate": self.rate + self.rate_slope * before,
            "floor": self.end + self.fall * step**-self.exponent,
        }


@pytree
class PositionCurves:
    """Mean losses by position with a known law.

    Attributes:
        losses: (seeds, checkpoints, positions), nat, with noise.
        position: (positions,) 1-based.
        params: the truth: ``amplitude`` (nat), ``rate`` (1/position), ``floor`` (nat), each (checkpoints,).
    """

    losses: Float[Array, "seeds checkpoints positions"]
    position: Float[Array, " positions"]
    params: dict[str, Float[Array, " checkpoints"]]


@with_own_switches
def position_curves(
    step: ArrayLike,
    positions: int,
    evolution: PlantedEvolution | None = None,
    *,
    noise: float = 0.0,
    seeds: int = 1,
    seed: int = 0,
) -> PositionCurves:
    """Mean losses by position over training: ``amplitude/(1 + rate·i) + floor + noise``, the law evolving.

    Args:
        step: (checkpoints,) increasing, above 0.
        positions: length of the context; position i runs from 1 to it.
        evolution: of the law; by default `PlantedEvolution()`.
        noise: standard error of each mean, nat; independent.
        seeds: tables with noise of their own.
        seed: of the random numbers.

    Returns:
        `PositionCurves`.

    Raises:
        ValueError: steps that do not increase or are not positive, negative noise, or a count below 1.

    Example:
        >>> made = position_curves([10, 100, 1000], 16, noise=0.01, seeds=2)
        >>> made.losses.shape
        (2, 3, 16)

    Source: arXiv 2404.17785.
    """
    step = checks.increasing("step", step, 0.0, above=True)
    checks.whole("positions", positions)
    checks.number("noise", noise, 0.0)
    shape = (checks.whole("seeds", seeds), len(step), positions)
    checks.whole("seed", seed, 0)
    params = (PlantedEvolution() if evolution is None else evolution).at(step)
    position = jnp.arange(1.0, positions + 1)
    exact = Hyperbola().curve(position, {name: value[:, None] for name, value in params.items()})
    return PositionCurves(exact + noise * jax.random.normal(jax.random.key(seed), shape), position, params)
