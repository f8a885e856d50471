"""Operations that a program in JAX really does, counted: loops as often as they run, branches that are taken.

XLA's own count (``cost_analysis``) takes the body of a loop once, however often it runs. Here a program is walked
through instead: each `while` runs as long as its condition says, each `cond` takes its branch, and every elementary
operation counts by the shape of its arrays. Only what no data decide is compiled, and counted without running.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from . import native_operations

_ARITHMETIC = (
    *("add", "sub", "mul", "div", "rem", "max", "min", "neg", "abs", "sign", "floor", "ceil", "round", "clamp"),
    *("sqrt", "rsqrt", "cbrt", "square", "integer_pow", "add_any"),
)
_TRANSCENDENTAL = ("exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "tan", "pow", "erf")
_REDUCTIONS = (
    *("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "cumsum", "cumprod", "cummax", "cummin"),
    *("argmax", "argmin"),
)


@dataclasses.dataclass
class Operations:
    """Operations on floating-point numbers.

    Attributes:
        flops: additions, products, maxima, roots and the like, and transcendental functions, one each; a product of
            matrices (m, k) and (k, n) has 2mkn. Comparisons, selections and moves count nothing.
        transcendental: of these, exponentials, logarithms and the like, which take a processor many instructions.
    """

    flops: float = 0.0
    transcendental: float = 0.0

    def add(self, other: "Operations", times: float = 1) -> None:
        """Count others, some times over."""
        self.flops += times * other.flops
        self.transcendental += times * other.transcendental


def count(function, *arguments) -> Operations:
    """Run ``function(*arguments)`` step by step and count what it does.

    Args:
        function: pure and in JAX.
        arguments: pytrees of arrays.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    walk = _Walk()
    name = "jax_disable_most_optimizations"  # here compiling is most of the work
    before = jax.config.read(name)
    jax.config.update(name, True)
    try:
        walk.run(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
    finally:
        jax.config.update(name, before)
    return walk.done


class _Walk:
    """One walk through a program; `done` is what it has counted."""

    def __init__(self) -> None:
        self.done = Operations()
        #: By jaxpr, which is kept with it: an id is free for another object when its own is gone.
        self._plans: dict[int, tuple[Any, list[_Part]]] = {}

    def run(self, jaxpr, consts, arguments) -> list[Any]:
        """Evaluate a jaxpr."""
        if id(jaxpr) not in self._plans:
            self._plans[id(jaxpr)] = (jaxpr, list(_parts(jaxpr)))
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

        def read(variables):
            return [v.val if isinstance(v, Literal) else values[v] for v in variables]

        for part in self._plans[id(jaxpr)][1]:
            if part.compiled is None:
                found = self._decided_by_data(part.equation, read(part.inputs))
            else:
                self.done.add(part.operations)
                found = part.compiled(*read(part.inputs))
            values.update(zip(part.outputs, found, strict=True))
        return read(jaxpr.outvars)

    def _decided_by_data(self, equation, given) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "while":
            return self._while(params, given)
        if name == "cond":
            return self._inner(params["branches"][int(given[0])], given[1:])
        if name == "scan":
            return self._scan(equation, given)
        if name == "ffi_call":
            return self._native(equation, given)
        (inner,) = _inner(params)
        return self._inner(inner, given)

    def _native(self, equation, given) -> list[Any]:
        found = jax.jit(lambda *a: equation.primitive.bind(*a, **equation.params))(*given)
        family = dict(equation.params["attributes"])["family"]
        done = native_operations.flops(equation.params["target_name"], family, given, found)
        self.done.add(Operations(*done))
        return list(found)

    def _inner(self, jaxpr, given) -> list[Any]:
        return self.run(_open(jaxpr), getattr(jaxpr, "consts", ()), given)

    def _while(self, params, given) -> list[Any]:
        condition, body = params["cond_nconsts"], params["body_nconsts"]
        of_condition, of_body = given[:condition], given[condition : condition + body]
        carry = given[condition + body :]
        # Under vmap there may be one condition a row: the loop runs until the last one ends.
        while np.any(self._inner(params["cond_jaxpr"], [*of_condition, *carry])[0]):
            carry = self._inner(params["body_jaxpr"], [*of_body, *carry])
        return carry

    def _scan(self, equation, given) -> list[Any]:
        params, inner = equation.params, _open(equation.params["jaxpr"])
        # Versions of JAX name their numbers differently: rows, as arguments and results, have one axis less inside.
        carries = sum(a.aval.ndim == b.aval.ndim for a, b in zip(equation.outvars, inner.outvars, strict=True))
        rest = sum(a.aval.ndim == b.aval.ndim for a, b in zip(equation.invars, inner.invars, strict=True))
        fixed, carry, rows = given[: rest - carries], given[rest - carries : rest], given[rest:]
        turns, parts = range(params["length"]), []
        for i in reversed(turns) if params["reverse"] else turns:
            found = self._inner(params["jaxpr"], [*fixed, *carry, *(a[i] for a in rows)])
            carry = found[:carries]
            parts.append(found[carries:])
        parts = parts[::-1] if params["reverse"] else parts
        return [*carry, *(jnp.stack(column) for column in zip(*parts, strict=True))]


class _Part(NamedTuple):
    """An equation that data decide, or a run of equations that they do not, compiled."""

    inputs: list[Any]
    outputs: list[Any]
    equation: Any
    compiled: Any
    operations: Operations


def _parts(jaxpr) -> Iterator[_Part]:
    """The equations of a jaxpr, runs of those without data-dependent loops and branches put together."""
    for decided, group in itertools.groupby(jaxpr.eqns, _data_decide):
        if decided:
            yield from (_Part(e.invars, e.outvars, e, None, Operations()) for e in group)
            continue
        equations = list(group)
        outputs = list(dict.fromkeys(v for e in equations for v in e.outvars if type(v) is jex.core.Var))
        own = set(outputs)
        used = (v for e in equations for v in e.invars if not isinstance(v, Literal))
        inputs = list(dict.fromkeys(v for v in used if v not in own))
        run = jaxpr.replace(constvars=[], invars=inputs, outvars=outputs, eqns=equations)
        compiled = jax.jit(jex.core.jaxpr_as_fun(jex.core.ClosedJaxpr(run, ())))
        yield _Part(inputs, outputs, None, compiled, _sum(run))


def _inner(params) -> list[Any]:
    """Jaxprs among the parameters of an equation."""
    kinds = (jex.core.ClosedJaxpr, jex.core.Jaxpr)
    leaves = [leaf for value in params.values() for leaf in (value if isinstance(value, list | tuple) else [value])]
    return [leaf for leaf in leaves if isinstance(leaf, kinds)]


def _open(jaxpr):
    return jaxpr.jaxpr if isinstance(jaxpr, jex.core.ClosedJaxpr) else jaxpr


def _data_decide(equation) -> bool:
    """Whether an equation holds a loop or a branch that depends on data, or the kernel in C++."""
    if equation.primitive.name in ("while", "cond", "ffi_call"):
        return True
    return any(_data_decide(e) for inner in _inner(equation.params) for e in _open(inner).eqns)


def _sum(jaxpr) -> Operations:
    total = Operations()
    for equation in jaxpr.eqns:
        total.add(_fixed(equation))
    return total


def _fixed(equation) -> Operations:
    """Operations of an equation in which data decide nothing."""
    name, params = equation.primitive.name, equation.params
    inner, total = _inner(params), Operations()
    if inner and name not in _REDUCTIONS:
        total.add(_sum(_open(inner[0])), params["length"] if name == "scan" else 1)
        return total
    out = equation.outvars[0].aval if equation.outvars else None
    if out is None or not hasattr(out, "dtype") or not jnp.issubdtype(out.dtype, jnp.inexact):
        return total
    if name in _ARITHMETIC:
        total.flops = out.size
    elif name in _TRANSCENDENTAL:
        total.flops = total.transcendental = out.size
    elif name in _REDUCTIONS:
        total.flops = equation.invars[0].aval.size
    elif name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval
        total.flops = 2 * out.size * float(np.prod([left.shape[axis] for axis in contracted]))
    return total
