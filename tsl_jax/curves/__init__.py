"""Curve families: what is fitted."""

from .arrays import jax_array, native
from .family import Family, Parameter
from .hyperbola import Hyperbola
from .power_law import PowerLaw
from .sigmoid import Sigmoid

#: The families that the command line and fit stores know, by name.
FAMILIES: dict[str, type[Family]] = {family.name: family for family in (Sigmoid, Hyperbola, PowerLaw)}

__all__ = ["FAMILIES", "Family", "Hyperbola", "Parameter", "PowerLaw", "Sigmoid", "jax_array", "native"]
