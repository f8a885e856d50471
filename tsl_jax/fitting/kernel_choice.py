"""Which kernel fits: XLA's, or the one in C++ where it knows the family, is there, and on a GPU does as XLA's."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..curves import Family
from . import native
from .kernel_check import doubt_about_kernel
from .native.call import FAMILIES
from .options import FitOptions

_TRIED: set[type[Family]] = set()  # families for which `doubt_about_kernel` answers at once


def chosen_kernel(family: Family, options: FitOptions, dtype) -> str:
    """``"native"`` or ``"xla"``: which kernel fits this family on the default device.

    On a GPU the native one is taken of itself where it does what XLA's does, see `doubt_about_kernel`. While JAX traces
    a program nothing is built, loaded or tried: then there is a native one if that was done before, see `load_kernel`.

    Raises:
        ValueError: the native one is asked for where there is none.
    """
    if options.kernel == "xla":
        return "xla"
    cause = _why_not(family, dtype)
    if options.kernel == "auto":
        cause = cause or _why_not_trusted(type(family))
    elif cause:
        raise ValueError(f"FitOptions.kernel: got {options.kernel!r}, but {cause}; with kernel='auto' XLA does it")
    return "xla" if cause else "native" if options.kernel == "auto" else options.kernel


def with_chosen_kernel(family: Family, options: FitOptions, dtype) -> FitOptions:
    """The options with the kernel that is chosen by name: what is compiled for one kernel is kept by that name."""
    chosen: Any = chosen_kernel(family, options, dtype)
    return options if options.kernel == chosen else dataclasses.replace(options, kernel=chosen)


def load_kernel(backend: str | None = None) -> str | None:
    """Build and load the native kernel now, so that the programs that JAX traces later can use it.

    `tsl_jax.fit` does so by itself, unless it is called while JAX traces a program, as in a function under `jax.jit`:
    there nothing is built or loaded, and XLA fits where the kernel was not loaded before. A program keeps the kernel
    with which it was traced.

    Args:
        backend: JAX's name for a kind of device, such as ``"gpu"``; None (default): that of the default device.

    Returns:
        None where the kernel is there, else why not, or for which families not; those XLA fits.

    Example:
        >>> import jax, jax.numpy as jnp, tsl_jax as tsl
        >>> why_not = tsl.load_kernel()
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> learning_time = jax.jit(lambda losses: tsl.fit(tsl.Sigmoid(), step, losses).params["learning_time"])
        >>> round(float(learning_time(1.0 + 6.0 / (1.0 + (step / 30.0) ** 2))), 2)
        30.0
    """
    backend = backend or jax.default_backend()
    cause = _why_not_on(backend) or native.why_missing(backend)
    if cause is None and backend == jax.default_backend():
        doubts = [(kind.name, _why_not_trusted(kind)) for kind in FAMILIES]  # all are tried
        cause = "; ".join(f"{name}: {doubt}" for name, doubt in doubts if doubt) or None
    return cause


def _why_not(family: Family, dtype) -> str | None:
    backend = jax.default_backend()
    if cause := _why_not_on(backend):
        return cause
    if type(family) not in FAMILIES:
        return f"it does not know the family {family.name!r}"
    if jnp.dtype(dtype) != jnp.float32:
        return f"it computes in float32, and the losses want {jnp.dtype(dtype).name}"
    if not native.was_asked(backend) and _is_tracing():
        return "it is not loaded, and not while JAX traces a program: call tsl_jax.load_kernel() before"
    return native.why_missing(backend)


def _why_not_trusted(kind: type[Family]) -> str | None:
    """Nothing on a CPU: there the tests of this package look at it."""
    backend = jax.default_backend()
    if backend == "cpu":
        return None
    if _is_tracing() and kind not in _TRIED:
        return "it was not tried on this device, and not while JAX traces a program: call tsl_jax.load_kernel() before"
    _TRIED.add(kind)
    return doubt_about_kernel(kind(), backend)


def _why_not_on(backend: str) -> str | None:
    known = backend in ("cpu", "gpu")
    return None if known else f"it is for CPUs and NVIDIA's GPUs, and the default device is a {backend}"


def _is_tracing() -> bool:
    """Whether JAX traces a program: then even constants that it makes are tracers."""
    return isinstance(jax.device_put(np.float32(0)), Tracer)  # of all that makes one, this compiles nothing
