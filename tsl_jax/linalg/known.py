"""The same lines by NumPy where values are known, by JAX where it traces them: what is known compiles nothing."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arguments import is_traced
from . import on_host, small


def any_traced(*trees: Any) -> bool:
    """Whether JAX traces an array of these pytrees."""
    return any(map(is_traced, jax.tree.leaves(trees)))


def module_of(*arrays: Any) -> ModuleType:
    """``numpy`` where all are its arrays, else ``jax.numpy``; of arrays that go together one is enough."""
    return np if all(isinstance(array, np.ndarray | np.generic) for array in arrays) else jnp


def algebra_of(array: Any) -> ModuleType:
    """`tsl_jax.linalg.on_host` for arrays of NumPy, `tsl_jax.linalg.small` for all others."""
    return on_host if isinstance(array, np.ndarray) else small


def computed(function: Callable[..., Any], *arrays: Any, dtype: Any, **static: Any) -> Any:
    """``function(*arrays, **static)``: in NumPy and float64 where all are known, else as a program of JAX.

    Args:
        function: of pytrees of arrays, by the module that `module_of` finds; one object, which compiles once.
        arrays: its arguments.
        dtype: of the results' real numbers, where all are known.
        static: what else it takes, hashable.

    Returns:
        What the function returns, as arrays of JAX.
    """
    if any_traced(*arrays):
        return _traced(function, tuple(static.items()), arrays)
    with np.errstate(all="ignore"):  # as in JAX: NaN and infinity speak for themselves
        found = function(*jax.tree.map(wide, arrays), **static)
        return jax.tree.map(functools.partial(_narrow, dtype), found)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _traced(function, static, arrays):
    return function(*arrays, **dict(static))


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`jax.jit` with these options, unless all arrays are NumPy's: those the function works on as it is."""

    def decorated(function):
        program = jax.jit(function, **options)

        @functools.wraps(function)
        def call(*arguments):
            leaves = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
            if leaves:
                return program(*arguments)
            with np.errstate(all="ignore"):
                return function(*arguments)

        return call

    return decorated


def wide(array: Any) -> np.ndarray:
    """A known array as NumPy's, real numbers in float64."""
    array = np.asarray(array)
    return array.astype(np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _narrow(dtype, array) -> jax.Array:
    real = jnp.issubdtype(np.asarray(array).dtype, jnp.floating)
    return jnp.asarray(np.asarray(array, dtype) if real else array)


def product(subscripts: str, *arrays: Any) -> Any:
    """`einsum` with all digits, also where JAX's products have fewer by default."""
    if module_of(*arrays) is np:
        return np.einsum(subscripts, *arrays, optimize=True)
    return jnp.einsum(subscripts, *arrays, precision="highest")


def matmul(left: Any, right: Any) -> Any:
    """`matmul` with all digits, likewise."""
    return left @ right if module_of(left, right) is np else jnp.matmul(left, right, precision="highest")


def triangle_inverses(tables: Any) -> Any:
    """``R^-1`` of each table (..., n, p), ``R'R = table' table``."""
    if isinstance(tables, np.ndarray):
        return on_host.upper_inverse(on_host.triangle(tables))
    return jnp.vectorize(lambda table: small.upper_inverse(small.triangle(table)), signature="(n,p)->(p,p)")(tables)


def mapped(function: Callable[..., Any], rows: Any) -> Any:
    """``function`` of each row of a pytree of arrays, one after the other, its results stacked."""
    leaves, tree = jax.tree.flatten(rows)
    if not isinstance(leaves[0], np.ndarray):
        return jax.lax.map(function, rows)
    found = [function(tree.unflatten(row)) for row in zip(*leaves, strict=True)]
    return jax.tree.map(lambda *each: np.stack(each), *found)


def each_row(function: Callable[..., Any], *arrays: Any) -> Any:
    """``function`` of each row, its results stacked: `jax.vmap`, or one after the other where they are NumPy's."""
    if not isinstance(arrays[0], np.ndarray):
        return jax.vmap(function)(*arrays)
    found = [function(*row) for row in zip(*arrays, strict=True)]
    return jax.tree.map(lambda *each: np.stack(each), *found)
