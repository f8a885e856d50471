"""What a curve family is: a shape, names, bounds and a search grid; the engine does the rest."""

import abc
import dataclasses
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Parameter:
    """Name of a fitted parameter, as in result dictionaries and fit stores, and its unit.

    Args:
        name: such as ``"learning_time"``.
        unit: such as ``"nat"``; ``axis`` stands for the unit of the axis, ``u`` for the fitted coordinate.

    Example:
        >>> import tsl_jax as tsl
        >>> {parameter.name: parameter.unit for parameter in tsl.Hyperbola.parameters}
        {'amplitude': 'nat', 'rate': '1/position', 'floor': 'nat'}
    """

    name: str
    unit: str

    @classmethod
    def several(cls, **units: str) -> "tuple[Parameter, ...]":
        """The parameters of these names, in this order, with their units."""
        return tuple(cls(name, unit) for name, unit in units.items())


@dataclasses.dataclass(frozen=True)
class Family(abc.ABC):
    """Curves of the form ``loss(x) = offset + amplitude * shape(x, theta)``.

    ``x`` is the fitted coordinate in units of the observed window: ``x = (u - origin) / unit`` with ``u`` from
    :meth:`coordinate` and ``(origin, unit)`` from :meth:`window`; by default 0 is the first checkpoint and 1 the
    last. Bounds and grids are therefore plain numbers whatever the axis counts (steps, tokens, positions).

    A shape runs between 0 and 1. ``offset`` is the loss where it is 0 and ``offset + amplitude`` the loss where it
    is 1; these two plateaus are what `FitOptions.min_plateau` and `max_plateau_ratio` bound.

    A new family is a frozen dataclass that sets `name` and `parameters` and defines `shape`, `bounds`, `grid`,
    `named` and `curve`. Instances are hashable and are passed to `jax.jit` as static arguments.

    Args:
        scale: ``"linear"`` (u = a) or ``"log"`` (u = ln a), where a family has the choice.

    Raises:
        ValueError: a scale that the family does not have.

    Example:
        >>> import dataclasses, jax.numpy as jnp, tsl_jax as tsl
        >>> @dataclasses.dataclass(frozen=True)
        ... class Decay(tsl.Family):
        ...     name = "decay"
        ...     parameters = tsl.Parameter.several(rate="1/axis", drop="nat", floor="nat")
        ...     def shape(self, x, theta):
        ...         return jnp.exp(-jnp.exp(theta[0]) * x)
        ...     def bounds(self, x):
        ...         return jnp.array([-2.0]), jnp.array([5.0])
        ...     def grid(self, x):
        ...         return jnp.linspace(-2.0, 5.0, 30)[:, None]
        ...     def named(self, offset, amplitude, theta, window):
        ...         rate = jnp.exp(theta[0]) / window[1]
        ...         return {"rate": rate, "drop": amplitude * jnp.exp(rate * window[0]), "floor": offset}
        ...     def curve(self, axis, params):
        ...         return params["floor"] + params["drop"] * jnp.exp(-params["rate"] * axis)
        >>> time = jnp.arange(40.0)
        >>> fit = tsl.fit(Decay(), time, (2.0 + 3.0 * jnp.exp(-0.1 * time))[None])
        >>> {name: round(float(value[0]), 2) for name, value in fit.params.items()}
        {'drop': 3.0, 'floor': 2.0, 'rate': 0.1}
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    #: The parameter (in axis units) at which an event happens; fits of such families get a `Category`.
    event: ClassVar[str | None] = None
    #: The scales on which `curve` is the law that `shape` fits.
    scales: ClassVar[tuple[str, ...]] = ("linear", "log")
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        if self.scale not in self.scales:
            known = {"linear": "'linear' (u = a)", "log": "'log' (u = ln a)"}
            expected = " or ".join(known[scale] for scale in self.scales)
            raise ValueError(f"scale: got {self.scale!r} for {self.name!r}, expected {expected}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the full Jacobian's columns and of the store."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def log_parameters(self) -> tuple[str, ...]:
        """Names of the parameters whose logarithm has a normal error, rather than they themselves, to first order.

        None unless a family says so. `Fit.interval` follows it.
        """
        return ()

    def coordinate(self, axis: Any) -> Any:
        """The coordinate in which the curve is fitted, ``u = a`` or ``u = ln a``, as NumPy or JAX array like `axis`."""
        log = np.log if isinstance(axis, np.ndarray) else jnp.log  # an axis known beforehand keeps float64
        return log(axis) if self.scale == "log" else axis

    def window(self, u: Float[Array, " checkpoints"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """``(origin, unit)`` of the standardised coordinate ``x = (u - origin) / unit``."""
        return u[0], u[-1] - u[0]

    @abc.abstractmethod
    def shape(self, x: Float[Array, "..."], theta: Float[Array, "theta ..."]) -> Float[Array, "..."]:
        """The curve's shape, between 0 and 1; ``theta[k]`` broadcasts against ``x``."""

    def complement(self, x: Float[Array, "..."], theta: Float[Array, "theta ..."]) -> Float[Array, "..."]:
        """``1 - shape``; override it where that difference would cancel (shapes that approach 1)."""
        return 1 - self.shape(x, theta)

    def anchor(self, x: Float[Array, " checkpoints"], theta: Float[Array, "theta curves"]) -> Float[Array, " curves"]:
        """What `move` needs to know of the checkpoints around ``theta``; nothing, unless a family says so."""
        return jnp.zeros_like(theta[0])

    def move(
        self,
        anchor: Float[Array, " curves"],
        theta: Float[Array, "theta curves"],
        step: Float[Array, "theta curves"],
    ) -> Float[Array, "theta curves"]:
        """Where a step leads: the engine differentiates and walks along ``move(anchor, theta, step)`` at ``step = 0``.

        ``theta + step`` unless a family knows coordinates in which its curves change more nearly linearly.
        """
        return theta + step

    def event_at(self, theta: Float[Array, "theta *curves"]) -> Float[Array, "*curves"]:
        """Where the event is in the standardised coordinate.

        A family that defines this and `curve_around` has exact times of events in windows far from 0, too, at steps
        like 2^24 + k.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say where its event is")

    def curve_around(self, u: Float[Array, "..."], params: dict[str, Float[Array, "..."]]) -> Float[Array, "..."]:
        """The law by the distance ``u`` from the event, in the fitted coordinate; of families with `event_at`."""
        raise NotImplementedError(f"{type(self).__name__} defines event_at, and needs curve_around, too")

    @abc.abstractmethod
    def bounds(self, x: Float[Array, " checkpoints"]) -> tuple[Float[Array, " theta"], Float[Array, " theta"]]:
        """Lower and upper bounds of theta for checkpoints at ``x``."""

    def resolution(
        self, x: Float[Array, " checkpoints"], theta: Float[Array, "theta curves"]
    ) -> Float[Array, "theta curves"]:
        """Variance of theta's components that no residual shows, as of an event that lies between two checkpoints.

        0 unless a family says so. Where it is above 0 it also is the variance of a component that the slopes of the
        curve do not determine.
        """
        return jnp.zeros_like(theta)

    @abc.abstractmethod
    def grid(self, x: Float[Array, " checkpoints"]) -> Float[Array, "templates theta"]:
        """Values of theta to start from; their number may depend on ``len(x)`` only."""

    @abc.abstractmethod
    def named(
        self,
        offset: Float[Array, "*curves"],
        amplitude: Float[Array, "*curves"],
        theta: Float[Array, "theta *curves"],
        window: tuple[Float[Array, ""], Float[Array, ""]],
    ) -> dict[str, Float[Array, "*curves"]]:
        """The engine's ``offset, amplitude, theta`` as the family's named parameters, in the order of `names`."""

    @abc.abstractmethod
    def curve(self, axis: Float[Array, "..."], params: dict[str, Float[Array, "..."]]) -> Float[Array, "..."]:
        """The law itself: the loss at ``axis`` from the named parameters, which broadcast against it."""
