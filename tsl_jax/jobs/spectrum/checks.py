"""Checks of a spectrum as a whole: how good its tail's law is, and how far binning can move it.

They are one program, which takes longer to compile than to run. It depends on nothing but the bins, so that it is
compiled by a second thread while tokens are read and bands computed.
"""

import dataclasses
import functools
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...spectrum import BinningBound, Rival, Spectrum, SpectrumGrid, Tail, binning_bound, tail_rivals
from ...spectrum.tail.fit import default_cuts
from ...spectrum.tail.quality import goodness_of

_REPLICATES = 100


def start_compiling(grid: SpectrumGrid) -> None:
    """Compile the checks of spectra with these bins beside whatever comes next; `check` finds them ready."""
    _compiling(grid, next(iter(jnp.zeros(()).devices())))


def check(spectrum: Spectrum, tail: Tail, key: Array) -> tuple[Array, dict[str, Rival], BinningBound]:
    """Goodness of fit of the tail, weighted by count, the laws that compete with it, and the bound on binning."""
    device = min(spectrum.kinds.low.devices(), key=lambda one: one.id)
    return _compiling(spectrum.grid, device).result()(*jax.device_put((spectrum, tail, key), device))


@functools.lru_cache(maxsize=4)
def _compiling(grid: SpectrumGrid, device) -> Future:
    place = jax.sharding.SingleDeviceSharding(device)

    def arguments_like():
        numbers = [jnp.zeros((), jnp.float32)] * len(dataclasses.fields(Tail))
        return Spectrum.empty(grid), Tail(*numbers), jax.random.key(0)

    shapes = jax.eval_shape(arguments_like)
    arguments = jax.tree.map(lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=place), shapes)
    # Traced here, where the caller's settings of JAX hold; XLA's part needs no lock of Python.
    lowered = jax.jit(_checked).lower(*arguments)
    thread = ThreadPoolExecutor(1, "compile-checks")
    future = thread.submit(lowered.compile)
    thread.shutdown(wait=False)
    return future


def _checked(spectrum: Spectrum, tail: Tail, key: Array) -> tuple[Array, dict[str, Rival], BinningBound]:
    moments = spectrum.moments()
    goodness = goodness_of(moments, tail, key, default_cuts(moments.grid), _REPLICATES)
    return goodness, tail_rivals(moments, tail), binning_bound(moments)
