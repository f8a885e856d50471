"""What a law of the mean loss over training is: in steps, in dynamic time, and with the learning rate's changes."""

import abc
import dataclasses
import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...curves import Parameter
from ..clock.schedule_rows import History

Params = dict[str, Float[Array, ""]]

FLOOR = Parameter("floor", "nat")
COEFFICIENT = Parameter("coefficient", "nat·axis^exponent")
EXPONENT = Parameter("exponent", "1")
EXCESS = Parameter("excess", "nat/rate")


@dataclasses.dataclass(frozen=True)
class ScheduleLaw(abc.ABC):
    """A law ``loss = base + excess · base^noise_power · lagged_rate``, ``base = floor + coefficient · a^-exponent``.

    ``a`` is dynamic time. A rate that does not fall to 0 costs an excess loss in proportion to the rate, and that
    excess follows the rate with a lag: the `lagged_rate` is ``Σ_k (η_k - η_(k-1)) · relaxed_k`` over all changes
    from 0 before the first update on, each change counting as far as it has relaxed, 0 to 1. ``floor`` is
    therefore the loss at rate 0 after endless training. Laws differ by what relaxes how.

    Instances are hashable and stateless: static under `jax.jit`. Fits search *coordinates*, (p,) unconstrained
    numbers in the order of `names`: logarithms of the parameters, of ``f / (1 - f)`` for fractions.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    #: Starting values of the parameters that say how changes relax: the fit begins from each combination.
    shapes: ClassVar[dict[str, tuple[float, ...]]] = {}
    #: The values of the same that shrinkage draws to.
    typical: ClassVar[dict[str, float]] = {}
    #: Parameters between 0 and 1.
    fractions: ClassVar[frozenset[str]] = frozenset()

    @property
    def noise_power(self) -> float:
        """Power of the base loss that the excess grows with."""
        return 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the coordinates."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def has_excess(self) -> bool:
        """Whether the law knows the learning rate beyond its sum."""
        return "excess" in self.names

    def axis(self, history: History) -> Float[Array, " rows"]:
        """What the power law runs over."""
        return jnp.asarray(history.dynamic_time)

    def relaxed(self, params: Params, history: History) -> Float[Array, "rows groups"]:
        """Share of each change that the loss has followed, 0 to 1."""
        raise NotImplementedError(f"{self.name} has no excess")

    def base(self, params: Params, history: History) -> Float[Array, " rows"]:
        """The loss without the excess, ``floor + coefficient · a^-exponent``."""
        return params["floor"] + params["coefficient"] * self.axis(history) ** -params["exponent"]

    def lagged_rate(self, params: Params, history: History) -> Float[Array, " rows"]:
        """The learning rate as the loss has followed it."""
        return jnp.sum(jnp.asarray(history.rise) * self.relaxed(params, history), axis=1)

    def predict(self, params: Params, history: History) -> Float[Array, " rows"]:
        """The law itself: mean loss (nat) at each row of a schedule. Pure; `jax.vmap` over params for many."""
        base = self.base(params, history)
        if not self.has_excess:
            return base
        return base + params["excess"] * base**self.noise_power * self.lagged_rate(params, history)

    def named(self, coordinates: Float[Array, "*batch p"]) -> dict[str, Float[Array, "*batch"]]:
        """Coordinates as named parameters."""
        coordinates = jnp.asarray(coordinates)
        return {
            name: (jax.nn.sigmoid if name in self.fractions else jnp.exp)(coordinates[..., i])
            for i, name in enumerate(self.names)
        }

    def coordinates(self, params: Params) -> Float[Array, "*batch p"]:
        """Named parameters as coordinates."""

        def free(name):
            value = jnp.asarray(params[name], float)
            return jax.scipy.special.logit(value) if name in self.fractions else jnp.log(value)

        return jnp.stack([free(name) for name in self.names], axis=-1)

    def shape_grid(self) -> Float[np.ndarray, "shapes k"]:
        """Starting values of the shape parameters, every combination, in the order of `names`."""
        return np.array(list(itertools.product(*self.shapes.values())), np.float64)

    def shrinkage(self, strength: float) -> Float[np.ndarray, " p"]:
        """Strengths for `fit_law` that draw the shape parameters to `typical`, and the excess to that of the same law
        without lag, alike: in log loss a unit of coordinate, 1e-3 is weak, 1 all but holds them fixed."""
        return np.array([strength if name == "excess" or name in self.shapes else 0.0 for name in self.names])

    def without_lag(self) -> "ScheduleLaw":
        """The simpler law in which the loss follows the learning rate at once."""
        return InstantLaw(self.noise_power)


@dataclasses.dataclass(frozen=True)
class InstantLaw(ScheduleLaw):
    """``L = base + excess · base^power · η``: the loss follows the learning rate at once.

    Attributes:
        power: of the base loss that the excess grows with.
        parameters: ``floor`` (nat), ``coefficient``, ``exponent``, ``excess``.
    """

    power: float = 0.0
    name: ClassVar[str] = "instant_law"
    parameters: ClassVar[tuple[Parameter, ...]] = (FLOOR, COEFFICIENT, EXPONENT, EXCESS)

    @property
    def noise_power(self):
        return self.power

    def lagged_rate(self, params, history):
        return jnp.asarray(history.learning_rate)
