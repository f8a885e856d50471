"""Library calls that take one problem at a time, also under `jax.vmap`.

On the CPU a batched factorisation or transform waits inside a worker of XLA's thread pool for work that it puts into
the same pool: two of them at once can wait for each other for ever. So a batch is a loop here.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Complex, Float


@jax.custom_batching.sequential_vmap
def singular_values(matrix: Float[Array, "rows columns"]) -> tuple[Array, Array, Array]:
    """Thin singular value decomposition ``U, s, Vᵀ`` of one matrix, or of each of a batch in turn."""
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    return left, values, right


# A linear function of one array. Not `sequential_vmap`, which has no gradient in reverse mode.
_linear_p = Primitive("one_at_a_time")


def _linear(array: Array, function: Callable[[Array], Array]) -> Array:
    return _linear_p.bind(array, function=function)


@dataclasses.dataclass(frozen=True)
class _Transposed:
    """The transpose of a linear function of arrays of this shape; equal ones are compiled once."""

    function: Callable[[Array], Array]
    shape: tuple[int, ...]
    dtype: np.dtype

    def __call__(self, cotangent: Array) -> Array:
        return jax.linear_transpose(self.function, jax.ShapeDtypeStruct(self.shape, self.dtype))(cotangent)[0]


def _abstract(aval, *, function):
    out = jax.eval_shape(function, jax.ShapeDtypeStruct(aval.shape, aval.dtype))
    return aval.update(shape=out.shape, dtype=out.dtype)


def _transposed(cotangent, argument, *, function):
    return [_linear(cotangent, _Transposed(function, argument.aval.shape, argument.aval.dtype))]


def _in_turn(arrays, axes, *, function):
    rows = jnp.moveaxis(arrays[0], axes[0], 0)
    return jax.lax.map(functools.partial(_linear, function=function), rows), 0


def _itself(array, *, function):
    return function(array)


_linear_p.def_impl(jax.jit(_itself, static_argnames="function"))
_linear_p.def_abstract_eval(_abstract)
ad.deflinear2(_linear_p, _transposed)
batching.primitive_batchers[_linear_p] = _in_turn
mlir.register_lowering(_linear_p, mlir.lower_fun(_itself, multiple_results=False))


def _inverse(transformed):
    return jnp.fft.irfft(transformed, 2 * (len(transformed) - 1))


def transform(signal: Float[Array, " points"], size: int) -> Complex[Array, " frequencies"]:
    """Fourier transform of one real signal padded with zeros to ``size`` points, or of each of a batch in turn."""
    return _linear(jnp.pad(signal, (0, size - len(signal))), jnp.fft.rfft)


def signal_of(transformed: Complex[Array, " frequencies"]) -> Float[Array, " points"]:
    """The real signal of an even number of points that has this transform."""
    return _linear(transformed, _inverse)


def sum_of_convolutions(signals: Float[Array, "signals points"], transforms: np.ndarray) -> Float[Array, " size"]:
    """``Σ_i signals[i] * kernels[i]``, cyclic, one transform at a time.

    Args:
        signals: (signals, points).
        transforms: (signals, frequencies) transforms of the kernels at an even number of points.

    Returns:
        (size,)
    """
    size = 2 * (transforms.shape[1] - 1)

    def add(total, pair):
        return total + transform(pair[0], size) * pair[1], None

    start = jnp.zeros(transforms.shape[1], jnp.complex64)
    return signal_of(jax.lax.scan(add, start, (signals, jnp.asarray(transforms)))[0])
