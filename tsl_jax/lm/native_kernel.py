"""The engine's kernel in C++ (`tsl_jax.native`), for families that it knows, on CPUs, in float32.

It does what `kernel.solve_block` does, curve by curve the same steps, to rounding: one pass over a curve's losses in
registers where XLA makes forty over arrays.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from .. import native
from ..curves import Family, Hyperbola, PowerLaw, Sigmoid
from . import kernel
from .options import FitOptions
from .projection import Block

#: Families whose shapes are written in C++ too; not their subclasses, which may have another shape.
FAMILIES = (Sigmoid, Hyperbola, PowerLaw)


def chosen_kernel(family: Family, options: FitOptions, dtype) -> str:
    """``"native"`` or ``"xla"``: which kernel fits this family on the default device.

    Raises:
        ValueError: the native one is asked for where there is none.
    """
    if options.kernel == "xla":
        return "xla"
    cause = _why_not(family, dtype)
    if cause and options.kernel == "native":
        raise ValueError(f"FitOptions.kernel: got 'native', but {cause}; with kernel='auto' XLA does it")
    return "xla" if cause else "native"


def _why_not(family: Family, dtype) -> str | None:
    if jax.default_backend() != "cpu":
        return f"it is for CPUs and the default device is a {jax.default_backend()}"
    if type(family) not in FAMILIES:
        return f"it does not know the family {family.name!r}"
    if dtype != jnp.float32:
        return f"it computes in float32, and the losses want {jnp.dtype(dtype).name}"
    return native.why_missing()


def solve_block(family: Family, options: FitOptions, block: Block):
    """Coefficients (coefficients, curves), which of them are on a bound, and who has converged (curves)."""

    @custom_vmap
    def run(x, *rows):
        return _call(family, options, x, *rows)

    @run.def_vmap
    def batched(size, is_batched, x, *rows):
        """More curves, unless each batch has an axis of its own."""
        spread = [
            a if has else jnp.broadcast_to(a, (size, *a.shape)) for a, has in zip(rows, is_batched[1:], strict=True)
        ]
        if is_batched[0]:
            return lax.map(lambda a: run(*a), (x, *spread)), (True, True, True)
        results = run(x, *(a.reshape(-1, *a.shape[2:]) for a in spread))
        return tuple(jnp.moveaxis(a.reshape(*a.shape[:-1], size, -1), -2, 0) for a in results), (True, True, True)

    return run(block.x, block.loss.T, block.weight.T, block.least, block.most)


def _call(family: Family, options: FitOptions, x, loss, weight, least, most):
    curves = len(loss)
    grid = family.grid(x)
    shapes = family.shape(x, grid.T[:, :, None])
    size = 2 + grid.shape[1]
    results = [
        jax.ShapeDtypeStruct((size, curves), x.dtype),
        jax.ShapeDtypeStruct((size, curves), bool),
        jax.ShapeDtypeStruct((curves,), bool),
    ]
    call = jax.ffi.ffi_call(native.SOLVE, results)
    method = _method(options, float(jnp.finfo(x.dtype).eps))
    return tuple(call(x, loss, weight, least, most, *family.bounds(x), grid, shapes, family=family.name, **method))


@functools.cache
def _method(options: FitOptions, eps: float) -> dict[str, Any]:
    """The constants of the method as attributes of the call."""
    counts = {
        "steps_a_round": kernel.STEPS_A_ROUND,
        "max_steps": options.max_steps,
        "starts": options.starts,
        "most_starts": kernel.most_starts(options),
    }
    numbers = {
        "first_damping": kernel.FIRST_DAMPING,
        "ease": kernel.EASE,
        "tighten": kernel.TIGHTEN,
        "last_damping": kernel.LAST_DAMPING,
        "barely_seen": kernel.BARELY_SEEN,
        "clear": kernel.CLEAR,
        "promising": kernel.PROMISING,
        "same_rise": kernel.SAME_RISE,
        "same_rss": kernel.SAME_RSS,
        "perfect": kernel.PERFECT,
        "longest_step": kernel.LONGEST_STEP,
        "tolerance": kernel.tolerance(options, eps),
    }
    return {name: np.int32(value) for name, value in counts.items()} | {
        name: np.float32(value) for name, value in numbers.items()
    }
