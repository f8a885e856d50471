"""The position law."""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from ..jax_switches import with_own_switches
from .arrays import native
from .family import Family, Parameter


@dataclasses.dataclass(frozen=True)
class Hyperbola(Family):
    """Mean loss at position i of the context: ``L(i) = amplitude / (1 + rate·i) + floor``, i = 1, 2, ...

    Source: arXiv 2404.17785. The shape is ``1 / (1 + exp(theta)·x)`` with ``x = i / i_last``.

    Args:
        scale: ``"linear"``, the only one.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> i = jnp.arange(1.0, 65.0)
        >>> fit = tsl.fit(tsl.Hyperbola(), i, 2.0 / (1 + 0.1 * i) + 3.0)
        >>> round(float(fit.params["rate"]), 3)
        0.1
    """

    name = "hyperbola"
    parameters = Parameter.several(amplitude="nat", rate="1/position", floor="nat")
    scales = ("linear",)
    scale: Literal["linear"] = "linear"

    @property
    def log_parameters(self):
        return ("rate",)

    def window(self, u):
        return jnp.zeros_like(u[0]), u[-1]

    def shape(self, x, theta):
        return 1 / (1 + jnp.exp(theta[0]) * x)

    def complement(self, x, theta):
        return jnp.exp(theta[0]) * x / (1 + jnp.exp(theta[0]) * x)

    def bounds(self, x):
        # From a straight line within 1% (x reaches 1) to a drop over within the first tenth of the first interval.
        smallest = jnp.maximum(x[0], 1e-6)
        return jnp.log(jnp.asarray([0.02], x.dtype)), jnp.log(100 / smallest)[None]

    def grid(self, x):
        lower, upper = self.bounds(x)
        return jnp.linspace(lower, upper, 64)

    def named(self, offset, amplitude, theta, window):
        return {"amplitude": amplitude, "rate": jnp.exp(theta[0]) / window[1], "floor": offset}

    @with_own_switches
    def curve(self, axis, params):
        return params["amplitude"] / (1 + params["rate"] * native(axis)) + params["floor"]
