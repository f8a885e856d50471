"""Functions of rows that XLA runs where the rows of a sharded array lie.

Left to itself XLA brings the rows of a loop or of a foreign kernel together, and each device works on all of them. Here
it is told that rows do not depend on each other (`jax.experimental.custom_partitioning`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from ..jax_switches import with_own_switches

_ROWS = "rows"


def where_rows_lie(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function(shared, *rows)`` on whichever devices the rows lie, each row on its own; values do not change.

    Derivatives are those of the function; XLA spreads them as it thinks best.

    Args:
        function: of a pytree of arrays that all rows share, and of arrays (rows, ...), to a pytree of arrays
            (rows, ...), row by row.
    """
    mapped = custom_vmap(_partitioned(function))

    @mapped.def_vmap
    @with_own_switches
    def _(size, is_batched, shared, *rows):
        if any(jax.tree.leaves(is_batched[0])):
            return _one_after_the_other(function, size, is_batched, shared, rows)
        pairs = zip(rows, is_batched[1:], strict=True)
        rows = [a if has else jnp.broadcast_to(a, (size, *a.shape)) for a, has in pairs]
        number = rows[0].shape[1]
        found = mapped(shared, *(a.reshape(size * number, *a.shape[2:]) for a in rows))
        found = jax.tree.map(lambda a: a.reshape(size, number, *a.shape[1:]), found)
        return found, jax.tree.map(lambda _: True, found)

    call = jax.custom_jvp(mapped)

    @call.defjvp
    @with_own_switches
    def _(primals, tangents):
        return jax.jvp(function, primals, tangents)

    return call


def _one_after_the_other(function, size, is_batched, shared, rows):
    """Where what rows share differs from batch to batch, too."""
    given = (shared, *rows)
    whole = jax.tree.map(lambda has, a: a if has else jnp.broadcast_to(a, (size, *a.shape)), tuple(is_batched), given)
    found = lax.map(lambda arguments: function(*arguments), whole)
    return found, jax.tree.map(lambda _: True, found)


def _partitioned(function):
    def run(shared, *rows):
        call = custom_partitioning(jax.jit(function))
        call.def_partition(partition=partition, sharding_rule=functools.partial(_rule, len(jax.tree.leaves(shared))))
        return call(shared, *rows)

    def partition(mesh, given, found):
        axis = next((a.sharding.spec[0] for a in given[1:] if len(a.sharding.spec)), None)
        by_rows, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec(axis), PartitionSpec()))
        wanted = (jax.tree.map(lambda _: whole, given[0]), *(by_rows for _ in given[1:]))
        return mesh, function, jax.tree.map(lambda _: by_rows, found), wanted

    return run


def _rule(num_shared: int, _mesh, given, found) -> tuple[str, dict[str, Any]]:
    """Which axes are the same, in the notation of `custom_partitioning`; all but the rows are whole on each device."""
    whole = []

    def axes(array, first: list[str]) -> str:
        names = [f"a{len(whole) + k}" for k in range(array.rank - len(first))]
        whole.extend(names)
        return " ".join(first + names)

    operands = [axes(array, [] if k < num_shared else [_ROWS]) for k, array in enumerate(given)]
    results = [axes(array, [_ROWS]) for array in found]
    return f"{', '.join(operands)} -> {', '.join(results)}", {"need_replication_factors": tuple(whole)}
