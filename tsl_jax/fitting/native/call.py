"""The engine's kernel in C++, for families that it knows, on CPUs and NVIDIA's GPUs, in float32.

It does what `kernel.solve_block` and `measures.measure_block` do, curve by curve the same steps, to rounding: one pass
over a curve's losses in registers where XLA makes forty over arrays.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from ...curves import Family, Hyperbola, PowerLaw, Sigmoid
from ...jax_switches import with_own_switches
from .. import native
from ..noise import Noise
from ..options import FitOptions
from ..xla import kernel, search, steps
from ..xla.projection import CurveBlock

#: ``change(arguments, changes of the arguments, results)``, the changes of the results: a derivative forwards.
Change = Callable[[tuple, tuple, tuple], tuple]

#: Families whose shapes are written in C++ too; not their subclasses, which may have another shape.
FAMILIES = (Sigmoid, Hyperbola, PowerLaw)


def solve_block(family: Family, options: FitOptions, block: CurveBlock, change: Change):
    """Fit every column of a block.

    Args:
        change: how the results follow the block.

    Returns:
        Coefficients (coefficients, curves), which of them are on a bound (the same), who has converged (curves), and
        the passes over each curve's losses (curves).
    """

    def run(x, loss, weight, least, most):
        grid = family.grid(x)
        shapes = family.shape(x, grid.T[:, :, None])
        size, curves = 2 + grid.shape[1], loss.shape[1]
        results = [
            jax.ShapeDtypeStruct((size, curves), x.dtype),
            jax.ShapeDtypeStruct((size, curves), bool),
            jax.ShapeDtypeStruct((curves,), bool),
            jax.ShapeDtypeStruct((curves,), jnp.int32),
        ]
        method = _method(options, float(jnp.finfo(x.dtype).eps))
        call = jax.ffi.ffi_call(native.TARGETS[options.kernel][0], results)
        args = (x, loss.T, weight.T, least, most, *family.bounds(x), grid, shapes)
        return tuple(call(*args, family=family.name, **method))

    return _over_curves(run, change)(*block)


def measure(
    family: Family,
    kernel: str,
    assumed: Noise,
    method: dict[str, Any],
    block: CurveBlock,
    coefficients,
    active,
    change: Change,
):
    """The fields of `measures.Measures`, in their order.

    Args:
        kernel: its name.
        method: its constants, attributes of the call.
        change: how they follow the arguments, of which the first is `with_noise` of x.
    """

    def run(shared, loss, weight, coefficients, active):
        size, curves = coefficients.shape
        x, noise = without_noise(shared, len(loss))
        numbers, square = (jax.ShapeDtypeStruct((*shape, curves), x.dtype) for shape in ((), (size, size)))
        call = jax.ffi.ffi_call(native.TARGETS[kernel][1], [square] * 2 + [numbers] * 10)
        args = (x, loss.T, weight.T, coefficients, active, *noise)
        return tuple(call(*args, family=family.name, **method))

    shared = with_noise(block.x, assumed)
    return _over_curves(run, change)(shared, block.loss, block.weight, coefficients, active)


def with_noise(x, assumed: Noise):
    """What all curves share in one array, as `_over_curves` takes it."""
    return jnp.concatenate([x, *assumed])


def without_noise(shared, num_checkpoints: int) -> tuple[Any, Noise]:
    """The inverse of `with_noise`."""
    x, std, odds, scalars = jnp.split(shared, [num_checkpoints, 2 * num_checkpoints, 3 * num_checkpoints])
    return x, Noise(std, odds, scalars)


def _over_curves(run, change: Change):
    """``run(x, *arrays)``, of arrays with curves on the last axis, as a function that JAX can transform.

    Under `vmap` there are just more curves; batches that have an axis each of their own are run one after the other.
    """
    mapped = custom_vmap(_with_derivative(run, change))

    @mapped.def_vmap
    @with_own_switches
    def _(size, is_batched, x, *arrays):
        if not any(is_batched):  # of a derivative only the changes are
            results = mapped(x, *arrays)
            return results, (False,) * len(results)
        pairs = zip(arrays, is_batched[1:], strict=True)
        repeated = [a if has else jnp.broadcast_to(a, (size, *a.shape)) for a, has in pairs]
        if is_batched[0]:
            results = lax.map(lambda a: mapped(*a), (x, *repeated))
        else:
            curves = repeated[0].shape[-1]
            more = [jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], size * curves) for a in repeated]
            results = mapped(x, *more)
            results = tuple(jnp.moveaxis(a.reshape(*a.shape[:-1], size, curves), -2, 0) for a in results)
        return results, (True,) * len(results)

    # Once outside, for reverse mode does not look into `mapped`; once inside, where JAX looks when it differentiates
    # twice.
    return _with_derivative(mapped, change)


def _with_derivative(function, change: Change):
    call = jax.custom_jvp(function)

    @call.defjvp
    @with_own_switches
    def _(args, changes):
        results = call(*args)
        return results, change(args, changes, results)

    return call


@functools.cache
def _method(options: FitOptions, eps: float) -> dict[str, Any]:
    """The constants of the method as attributes of the call."""
    counts = {
        "steps_a_round": kernel.STEPS_A_ROUND,
        "max_steps": options.max_steps,
        "starts": options.starts,
        "most_starts": kernel.most_starts(options),
        "runs": search.NUM_RUNS,
    }
    numbers = {
        "first_damping": steps.FIRST_DAMPING,
        "failed_damping": steps.FAILED_DAMPING,
        "ease": steps.EASE,
        "tighten": steps.TIGHTEN,
        "last_damping": steps.LAST_DAMPING,
        "barely_seen": kernel.BARELY_SEEN,
        "clear": kernel.CLEAR,
        "promising": kernel.PROMISING,
        "same_rise": kernel.SAME_RISE,
        "same_rss": kernel.SAME_RSS,
        "perfect": kernel.PERFECT,
        "longest_step": steps.LONGEST_STEP,
        "tolerance": steps.tolerance(options, eps),
        "flat": search.FLAT,
        "least_variance": search.LEAST_VARIANCE,
        "rounding": steps.rounding(eps),
    }
    return {name: np.int32(value) for name, value in counts.items()} | {
        name: np.float32(value) for name, value in numbers.items()
    }
