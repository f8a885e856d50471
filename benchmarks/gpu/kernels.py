"""Kernels by name for the parts of `benchmarks gpu`: XLA's, the native one, and the emulator's in its place."""

import jax

from tsl_jax import FitOptions
from tsl_jax.fitting import native


def options_of(kernel: str) -> FitOptions:
    """Options with any kernel of `native.TARGETS`; users know one of them."""
    options = FitOptions(kernel="native" if kernel in native.TARGETS else "xla")
    object.__setattr__(options, "kernel", kernel)
    return options


def native_kernel(rehearse: bool) -> str:
    """The native kernel of this GPU, ready to be called; in a rehearsal without one what nvcc makes of it, emulated.

    Raises:
        SystemExit: there is none; the message says why.
    """
    backend = jax.default_backend()
    if backend == "cpu" and not rehearse:
        raise SystemExit("JAX finds no GPU; --rehearse goes through all parts on a CPU")
    if backend != "cpu" or not rehearse:
        if cause := native.why_missing(backend):
            raise SystemExit(f"the native kernel: {cause}")
        return "native"
    from tests import emulated_gpu

    if cause := emulated_gpu.why_missing():
        raise SystemExit(f"the emulated kernel: {cause}")
    native.TARGETS["emulated"] = (emulated_gpu.SOLVE, emulated_gpu.MEASURE)
    return "emulated"
