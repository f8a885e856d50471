"""Checks of a spectrum as a whole: how good its tail's law is, and how far binning can move it, in NumPy."""

import jax
import numpy as np
from jaxtyping import Array

from ...spectrum import BinningBound, Rival, Spectrum, Tail, binning_bound, tail_rivals
from ...spectrum.on_host import known_moments
from ...spectrum.tail.fit import default_cuts
from ...spectrum.tail.quality import known_goodness_of

_REPLICATES = 100


def check(spectrum: Spectrum, tail: Tail, key: Array) -> tuple[np.ndarray, dict[str, Rival], BinningBound]:
    """Goodness of fit of the tail, weighted by count, the laws that compete with it, and the bound on binning."""
    moments, cuts = known_moments(spectrum), jax.tree.map(np.asarray, default_cuts(spectrum.grid))
    with np.errstate(all="ignore"):
        goodness = known_goodness_of(moments, tail, key, cuts, _REPLICATES)
    return goodness, tail_rivals(moments, tail), binning_bound(moments)
