"""How a parameter may evolve over training: a table of named forms."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Params = dict[str, Float[Array, ""]]
#: ``curve(params, x, covariates)`` with ``x = axis / (last checkpoint)``, (times,), and covariates of that length.
Curve = Callable[[Params, Float[Array, " times"], PyTree], Float[Array, " times"]]
#: ``start(x, values, weights, covariates)``: where the fit begins; weights are 0 where nothing counts.
Start = Callable[[Float[Array, " times"], Float[Array, " times"], Float[Array, " times"], PyTree], Params]


@dataclasses.dataclass(frozen=True)
class Form:
    """One way for a parameter to evolve; hashable, compared by identity of its functions.

    Args:
        name: what it is called in results.
        curve: ``curve(params, x, covariates)``, a JAX function: the value at ``x = axis / (last checkpoint)``.
        start: ``start(x, values, weights, covariates)``, the parameters from which the fit begins.
        bounds: lower and upper bound of every parameter that has them, by name.
    """

    name: str
    curve: Curve
    start: Start
    bounds: tuple[tuple[str, float, float], ...] = ()

    def limits(self, names: Iterable[str]) -> tuple[dict[str, float], dict[str, float]]:
        """Lower and upper bounds of the parameters of these names, infinite where there is none."""
        low = {name: lower for name, lower, _ in self.bounds}
        high = {name: upper for name, _, upper in self.bounds}
        return {name: low.get(name, -jnp.inf) for name in names}, {name: high.get(name, jnp.inf) for name in names}


def line_through(h, values, weights) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Weighted least squares of ``offset + slope·h``: offset, slope and the sum of squares left."""
    total = jnp.sum(weights)
    centre_h, centre = jnp.sum(weights * h) / total, jnp.sum(weights * values) / total
    spread = jnp.sum(weights * jnp.square(h - centre_h))
    slope = jnp.sum(weights * (h - centre_h) * (values - centre)) / jnp.where(spread > 0, spread, 1)
    left = jnp.sum(weights * jnp.square(values - centre - slope * (h - centre_h)))
    return centre - slope * centre_h, slope, left


def straight(name: str, names: tuple[str, str], h: Callable) -> Form:
    """A form ``offset + slope·h(x)`` without further parameters."""

    def curve(params, x, covariates):
        return params[names[0]] + params[names[1]] * h(x)

    def start(x, values, weights, covariates):
        offset, slope, _ = line_through(h(x), values, weights)
        return {names[0]: offset, names[1]: slope}

    return Form(name, curve, start)


def bent(name: str, names: tuple[str, str, str], h: Callable, lower: float, upper: float) -> Form:
    """A form ``offset + slope·h(x, theta)``; theta > 0 starts from the best of a grid between its bounds."""

    def curve(params, x, covariates):
        return params[names[0]] + params[names[1]] * h(x, params[names[2]])

    def start(x, values, weights, covariates):
        grid = jnp.geomspace(lower, upper, 26, dtype=x.dtype)[1:-1]
        offset, slope, left = jax.vmap(lambda theta: line_through(h(x, theta), values, weights))(grid)
        best = jnp.argmin(left)
        return {names[0]: offset[best], names[1]: slope[best], names[2]: grid[best]}

    return Form(name, curve, start, ((names[2], lower, upper),))


def _constant_start(x, values, weights, covariates):
    return {"end": jnp.sum(weights * values) / jnp.sum(weights)}


CONSTANT = Form("constant", lambda params, x, covariates: params["end"] + 0 * x, _constant_start)
#: ``last + slope·ln x``: `last` is the value at the last checkpoint.
LOGARITHM = straight("logarithm", ("last", "slope"), jnp.log)
#: ``end + drop / x``.
RECIPROCAL = straight("reciprocal", ("end", "drop"), lambda x: 1 / x)
#: ``end + drop·x^-exponent``.
POWER_LAW = bent("power_law", ("end", "drop", "exponent"), lambda x, exponent: x**-exponent, 0.02, 4.0)
#: ``end + drop·exp(-rate·x)``: `rate` counts training runs of this length.
EXPONENTIAL = bent("exponential", ("end", "drop", "rate"), lambda x, rate: jnp.exp(-rate * x), 0.1, 100.0)

#: What `evolution` compares by default, simplest first.
FORMS = (CONSTANT, LOGARITHM, RECIPROCAL, POWER_LAW, EXPONENTIAL)
