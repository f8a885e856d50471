"""The coordinate in which a parameter's error is normal to first order: logarithms of times and rates, plain nat."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Coordinate:
    """Where a parameter of several runs is compared and averaged.

    ``y = ln(value)`` with the error ``stderr / value`` (``kind="ln"``), or the value itself (``kind="plain"``).

    Args:
        kind: ``"ln"`` or ``"plain"``.
        unit: of y: ``"1"`` for logarithms, that of the parameter else.
        size: what is a usual size of y; only how finely errors and differences are told apart follows from it.
    """

    kind: Literal["ln", "plain"]
    unit: str
    size: float = 1.0

    def of(
        self, value: Float[np.ndarray, " tokens"], stderr: Float[np.ndarray, " tokens"]
    ) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"]]:
        """``(y, error of y)`` in float64; NaN where there is no finite value (above 0 for logarithms) or no error."""
        y, error = np.asarray(value, np.float64), np.asarray(stderr, np.float64)
        if self.kind == "ln":
            positive = y > 0
            safe = np.where(positive, y, 1.0)
            y, error = np.where(positive, np.log(safe), np.nan), error / safe
        known = np.isfinite(y) & np.isfinite(error) & (error > 0)
        return np.where(np.isfinite(y), y, np.nan), np.where(known, error, np.nan)

    def value(
        self, y: Float[np.ndarray, " tokens"], error: Float[np.ndarray, " tokens"]
    ) -> tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"]]:
        """The parameter and its standard error, from y and its error."""
        if self.kind == "plain":
            return y, error
        value = np.exp(y)
        return value, value * error


def coordinates_of(units: Mapping[str, str], scale: str, window: float = 1.0) -> dict[str, Coordinate]:
    """The coordinate of each parameter of a family, by its unit.

    Losses (nat) stay as they are, and so do times on a linear scale; times on a log scale, rates, exponents and
    coefficients are compared by their logarithms.

    Args:
        units: of the parameters by name, as in `tsl_jax.Parameter`.
        scale: ``"log"`` or ``"linear"``, of the fits.
        window: length of the observed window, axis units.

    Example:
        >>> found = coordinates_of({"learning_time": "axis", "sharpness": "1/u", "loss_drop": "nat"}, "log")
        >>> [coordinate.kind for coordinate in found.values()]
        ['ln', 'ln', 'plain']
    """
    found = {}
    for name, unit in units.items():
        if unit == "nat":
            found[name] = Coordinate("plain", "nat")
        elif unit == "axis" and scale != "log":
            found[name] = Coordinate("plain", "axis", float(window))
        else:
            found[name] = Coordinate("ln", "1")
    return found
