"""The solution of a block as a differentiable function of the losses, by the implicit function theorem."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..curves import Family
from ..jax_switches import with_own_switches
from ..linalg import small as small_linalg
from .native import call as native_kernel
from .options import FitOptions
from .xla.kernel import solve_block
from .xla.projection import CurveBlock
from .xla.steps import make_limits, on_bound


class Solution(NamedTuple):
    """Best curves of a block: ``coefficients`` are (low plateau, high plateau, theta...)."""

    coefficients: Float[Array, "coefficients curves"]
    active: Bool[Array, "coefficients curves"]  # on a bound
    converged: Bool[Array, " curves"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def solve(family: Family, options: FitOptions, block: CurveBlock) -> Solution:
    """Minimise ``Σ w (y - low·(1 - f) - high·f)²`` for every column of a block.

    With the kernel that the options name: see `kernel_choice.with_chosen_kernel`.

    Differentiable in forward and reverse mode: where the gradient G of the rss vanishes in the free coefficients p,
    ``dp = -(∂G/∂p)⁻¹ (∂G/∂y dy + ...)`` with the full Hessian; coefficients on a bound move with their bound.
    """
    if options.kernel != "xla":
        return Solution(*native_kernel.solve_block(family, options, block, functools.partial(_all_change, family))[:3])
    state = solve_block(family, options, block)
    point = state.point
    active = jnp.concatenate(
        [
            jnp.stack([(p <= block.least) | (p >= block.most) for p in (point.low, point.high)]),
            on_bound(point, make_limits(family, options, block)),
        ]
    )
    return Solution(jnp.concatenate([jnp.stack([point.low, point.high]), point.theta]), active, state.done)


@solve.defjvp
@with_own_switches
def _solve_jvp(family, options, primals, tangents):
    (block,), (change,) = primals, tangents
    solution = solve(family, options, block)
    return solution, _change(family, block, change, solution)


def _all_change(family, block, change, results):
    """`_change` of all that the native kernel gives; JAX needs it where it differentiates twice."""
    moved = _change(family, CurveBlock(*block), CurveBlock(*change), Solution(*results[:3]))
    return *moved, *(np.zeros(a.shape, jax.dtypes.float0) for a in results[3:])


def _change(family, block: CurveBlock, change: CurveBlock, solution: Solution) -> Solution:
    """How a solution follows its block."""

    def gradient(p, x, loss, weight):
        return jax.grad(lambda q: jnp.sum(weight * jnp.square(loss - model(family, x, q))) / 2)(p)

    def one_curve(p, active, bound_change, loss, weight, loss_change, weight_change):
        hessian = jax.jacfwd(gradient)(p, block.x, loss, weight)
        _, drift = jax.jvp(
            functools.partial(gradient, p), (block.x, loss, weight), (change.x, loss_change, weight_change)
        )
        return _follow(hessian, drift, active, bound_change)

    p, active = solution.coefficients, solution.active
    most = jnp.where(p[:2] >= block.most, change.most, change.least)
    bound_change = jnp.concatenate([jnp.where(active[:2], most, 0), jnp.zeros_like(p[2:])])
    moved = jax.vmap(one_curve, in_axes=1, out_axes=1)(
        p, active, bound_change, block.loss, block.weight, change.loss, change.weight
    )
    nothing: list[Any] = [np.zeros(a.shape, jax.dtypes.float0) for a in (solution.active, solution.converged)]
    return Solution(moved, *nothing)


def model(family: Family, x, coefficients):
    """Losses of one curve from its coefficients."""
    low, high, theta = coefficients[0], coefficients[1], coefficients[2:]
    return low * family.complement(x, theta[:, None]) + high * family.shape(x, theta[:, None])


def _follow(hessian, drift, active, bound_change):
    """The change of the coefficients that keeps the gradient zero in the free ones."""
    free = ~active & (jnp.diagonal(hessian) > 0)  # a flat curve says nothing about theta: it stays
    drift = drift + hessian @ bound_change
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(hessian), jnp.finfo(hessian.dtype).tiny))
    system = jnp.where(free[:, None] & free[None, :], hessian * scale[:, None] * scale[None, :], 0)
    system = jnp.where(jnp.eye(len(active), dtype=bool) & ~free[:, None], 1, system)
    return jnp.where(free, -scale * small_linalg.solve(system, scale * drift), bound_change)
