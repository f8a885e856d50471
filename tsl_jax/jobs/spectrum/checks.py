"""Checks of a spectrum as a whole: how good its tail's law is, and how far binning can move it, as one program."""

import jax
from jaxtyping import Array

from ...spectrum import BinningBound, Rival, Spectrum, Tail, binning_bound, tail_rivals
from ...spectrum.tail.fit import default_cuts
from ...spectrum.tail.quality import goodness_of

_REPLICATES = 100


def check(spectrum: Spectrum, tail: Tail, key: Array) -> tuple[Array, dict[str, Rival], BinningBound]:
    """Goodness of fit of the tail, weighted by count, the laws that compete with it, and the bound on binning."""
    device = min(spectrum.kinds.low.devices(), key=lambda one: one.id)
    return _checked(*jax.device_put((spectrum, tail, key), device))


@jax.jit
def _checked(spectrum: Spectrum, tail: Tail, key: Array) -> tuple[Array, dict[str, Rival], BinningBound]:
    moments = spectrum.moments()
    goodness = goodness_of(moments, tail, key, default_cuts(moments.grid), _REPLICATES)
    return goodness, tail_rivals(moments, tail), binning_bound(moments)
