"""What `least_squares` is given, checked and flattened."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ...arguments import is_traced, real_array
from ...curves import native


def float_leaves(p0: PyTree) -> PyTree:
    """``p0`` with every leaf an array of at least float32.

    Raises:
        ValueError: there are no parameters. TypeError: one is neither real nor integer.
    """

    def checked(path, leaf):
        found = native(real_array(f"p0{jax.tree_util.keystr(path)}", leaf))
        return leaf if isinstance(leaf, int | float) else found  # plain numbers have no dtype of their own

    p0 = jax.tree_util.tree_map_with_path(checked, p0)
    if sum(np.size(leaf) for leaf in jax.tree.leaves(p0)) == 0:
        raise ValueError("p0: got no parameters, expected an array or a pytree of arrays with at least one number")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf, 0.0), "float32")), p0)


def _one_bound(bound: Any, p0: PyTree, side: str, empty: float) -> PyTree:
    """One side of the bounds as a pytree like ``p0``."""

    def none(value):
        return value is None

    given = jax.tree.structure(bound, is_leaf=none)
    structure = jax.tree.structure(p0)
    if jax.tree_util.treedef_is_leaf(structure) and isinstance(bound, list | tuple):
        bound = jnp.asarray(native(real_array(f"bounds: the {side} one", bound)))
    elif given != structure:
        if not jax.tree_util.treedef_is_leaf(given) or (bound is not None and np.ndim(bound) != 0):
            raise ValueError(
                f"bounds: the {side} one has the structure {given}, expected that of p0, {structure}, "
                "or one number, or None for no bound"
            )
        bound = jax.tree.unflatten(structure, [bound] * structure.num_leaves)

    def like(path, value, leaf):
        name = f"bounds: the {side} one{jax.tree_util.keystr(path)}"
        value = jnp.asarray(empty if value is None else native(real_array(name, value)), leaf.dtype)
        if value.shape not in ((), leaf.shape):
            name = f"p0{jax.tree_util.keystr(path)}"
            expected = f"expected {leaf.shape} or one number"
            raise ValueError(f"bounds: the {side} one of {name} has shape {value.shape}, {expected}")
        return jnp.broadcast_to(value, leaf.shape)

    return jax.tree_util.tree_map_with_path(like, bound, p0, is_leaf=none)


def full_bounds(bounds: Any, p0: PyTree) -> tuple[PyTree, PyTree]:
    """Lower and upper bounds as pytrees like ``p0`` (of arrays), infinite where there is none.

    Raises:
        ValueError: not a pair, another structure or shape than ``p0``, a lower bound above the upper one, or
            a start outside its bounds; the last two only where the numbers are known, not under `jit` or
            `vmap`.
    """
    if bounds is None:
        bounds = (None, None)
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"bounds: got {type(bounds).__name__}, expected a pair (lower, upper)")
    lower = _one_bound(bounds[0], p0, "lower", -jnp.inf)
    upper = _one_bound(bounds[1], p0, "upper", jnp.inf)
    jax.tree_util.tree_map_with_path(_check_start, p0, lower, upper)
    return lower, upper


def _check_start(path, start, lower, upper) -> None:
    if not is_traced(start) and not np.all(np.isfinite(np.asarray(start))):
        wrong = np.asarray(start)[~np.isfinite(np.asarray(start))][0]
        raise ValueError(f"p0{jax.tree_util.keystr(path)}: got {wrong}, expected a finite start; begin at a guess")
    if any(is_traced(value) for value in (start, lower, upper)):
        return
    start, lower, upper = np.asarray(start), np.asarray(lower), np.asarray(upper)
    for index in np.ndindex(start.shape):
        at = f"[{', '.join(map(str, index))}]" if index else ""
        name = f"p0{jax.tree_util.keystr(path)}{at}"
        low, value, high = lower[index], start[index], upper[index]
        if not low <= high:
            raise ValueError(f"bounds: got [{low}, {high}] for {name}, expected lower <= upper; exchange them")
        if value < low or value > high:
            expected = f"expected a start within its bounds [{low}, {high}]"
            raise ValueError(f"{name}: got {value}, {expected}; move the start or the bounds")


def flatten(tree: PyTree, dtype) -> tuple[jax.Array, Any]:
    """The tree as one vector of ``dtype``, and the way back."""
    return ravel_pytree(jax.tree.map(lambda leaf: leaf.astype(dtype), tree))
