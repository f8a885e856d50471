"""Library calls that take one problem at a time, also under `jax.vmap`.

On the CPU a batched factorisation or transform waits inside a worker of XLA's thread pool for work that it puts into
the same pool: two of them at once can wait for each other for ever. So a batch is a loop here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float


@jax.custom_batching.sequential_vmap
def singular_values(matrix: Float[Array, "rows columns"]) -> tuple[Array, Array, Array]:
    """Thin singular value decomposition ``U, s, Vᵀ`` of one matrix, or of each of a batch in turn."""
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    return left, values, right


@jax.custom_batching.sequential_vmap
def _transform(signal):
    return jnp.fft.rfft(signal)


@jax.custom_batching.sequential_vmap
def _signal(transformed):
    return jnp.fft.irfft(transformed, 2 * (len(transformed) - 1))


def transform(signal: Float[Array, " points"], size: int) -> Complex[Array, " frequencies"]:
    """Fourier transform of one real signal padded with zeros to ``size`` points, or of each of a batch in turn."""
    return _transform(jnp.pad(signal, (0, size - len(signal))))


def signal_of(transformed: Complex[Array, " frequencies"]) -> Float[Array, " points"]:
    """The real signal of an even number of points that has this transform."""
    return _signal(transformed)


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
