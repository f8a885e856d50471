"""JAX's switches that look for slips in a user's own program, and what they mean inside of this package: nothing.

Here NaN says "not measured" and "not known", infinity "nothing bounds it", and arrays of different rank and dtype meet
on purpose. A program that has switched on ``jax_debug_nans``, ``jax_debug_infs``, ``jax_numpy_rank_promotion`` or
``jax_numpy_dtype_promotion`` uses this package as any other does.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

_SWITCHES = (
    ("jax_numpy_rank_promotion", "allow", jax.numpy_rank_promotion),
    ("jax_numpy_dtype_promotion", "standard", jax.numpy_dtype_promotion),
    ("jax_debug_nans", False, jax.debug_nans),
    ("jax_debug_infs", False, jax.debug_infs),
)


@contextlib.contextmanager
def own_switches() -> Iterator[None]:
    """As JAX comes, in this thread, until the end of the block.

    Only what was switched is switched back: each combination has compiled programs of its own.
    """
    with contextlib.ExitStack() as stack:
        for name, value, switched in _SWITCHES:
            if getattr(jax.config, name) != value:
                stack.enter_context(switched(value))
        yield


def with_own_switches(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs under `own_switches`: the public ones, and rules that JAX calls later, as of derivatives."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with own_switches():
            return function(*args, **kwargs)

    return call
