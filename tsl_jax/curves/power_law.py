"""The macroscopic law."""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from ..jax_switches import with_own_switches
from .arrays import native
from .family import Family, Parameter


@dataclasses.dataclass(frozen=True)
class PowerLaw(Family):
    """Mean loss over training: ``L(a) = coefficient·a^(-exponent) + floor``, a > 0.

    Source: arXiv 2606.29858 (macroscopic law), arXiv 2602.03685 (time law). The shape is the same law counted from
    the first checkpoint, ``exp(-exp(theta)·x)`` with ``x = ln(a / a_first) / ln(a_last / a_first)``, which keeps
    float32 within range for axes of any unit.

    Args:
        scale: ``"log"``, the only one.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(10.0, 1e5, 64)
        >>> fit = tsl.fit(tsl.PowerLaw(), step, 7.0 * step**-0.33 + 2.5)
        >>> round(float(fit.params["exponent"]), 2)
        0.33
    """

    name = "power_law"
    parameters = Parameter.several(coefficient="nat·axis^exponent", exponent="1", floor="nat")
    scales = ("log",)
    scale: Literal["log"] = "log"

    @property
    def log_parameters(self):
        return ("coefficient", "exponent")

    def shape(self, x, theta):
        return jnp.exp(-jnp.exp(theta[0]) * x)

    def complement(self, x, theta):
        return -jnp.expm1(-jnp.exp(theta[0]) * x)

    def bounds(self, x):
        # From a straight line in ln(a) within 1% to a fall that is over within the first interval.
        first_gap = jnp.maximum(x[1] - x[0], 1e-6)
        return jnp.log(jnp.asarray([0.02], x.dtype)), jnp.log(20 / first_gap)[None]

    def grid(self, x):
        lower, upper = self.bounds(x)
        return jnp.linspace(lower, upper, 64)

    def named(self, offset, amplitude, theta, window):
        origin, unit = window
        exponent = jnp.exp(theta[0]) / unit
        return {"coefficient": amplitude * jnp.exp(exponent * origin), "exponent": exponent, "floor": offset}

    @with_own_switches
    def curve(self, axis, params):
        return params["coefficient"] * native(axis) ** -params["exponent"] + params["floor"]
