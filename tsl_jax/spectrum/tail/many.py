"""Many tails that are known, by one program: of the data, of replicates, of draws from a law."""

import functools

import jax
import numpy as np

from ...fitting.few_sizes import in_few_sizes
from ..grid import SpectrumGrid
from .fit import Tail, tail_of_masses
from .masses import Cuts

#: Tails that are fitted at once: more fill the cache.
_AT_ONCE = 16


def tails_of_rows(grid: SpectrumGrid, masses: np.ndarray, per_mass: np.ndarray, stop: np.ndarray, cuts: Cuts) -> Tail:
    """`tail_of_masses` of many rows that are known, as NumPy's arrays, by one program for any number of them."""
    rows = np.float32(masses), np.float32(per_mass), np.int32(stop)
    found = in_few_sizes(lambda *some: _tails(grid, cuts, *some), rows, fewest=_AT_ONCE, most=_AT_ONCE)
    return jax.tree.map(np.asarray, found)


@functools.partial(jax.jit, static_argnums=0)
def _tails(grid, cuts, masses, per_mass, stop) -> Tail:
    return jax.vmap(lambda mass, per, end: tail_of_masses(grid, mass, per, end, cuts))(masses, per_mass, stop)
