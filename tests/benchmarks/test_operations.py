"""Counted operations are those that are done: loops by their turns, branches by the one that is taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks.fitting.operations import count
from benchmarks.fitting.problems import sigmoids
from tsl_jax import FitOptions, Sigmoid, fit
from tsl_jax.fitting import native

FOUR, SQUARE = jnp.ones(4), jnp.ones((3, 3))


def turns(number):
    return lambda a: lax.fori_loop(0, number, lambda _, b: b * 2.0 + 1.0, a)


def halved(a):
    """Eight turns from 256 down to 1."""
    return lax.while_loop(lambda b: jnp.max(b) > 1, lambda b: b / 2, 256 * a)


@pytest.mark.parametrize(
    ("function", "arguments", "flops", "transcendental"),
    [
        (lambda a: a + a, [FOUR], 4, 0),
        (lambda a: jnp.exp(a) * a, [FOUR], 8, 4),
        (lambda a: jnp.where(a > 0, a, 1.0), [FOUR], 0, 0),
        (lambda a, b: a @ b, [jnp.ones((2, 3)), jnp.ones((3, 5))], 2 * 2 * 3 * 5, 0),
        (jnp.sum, [SQUARE], 9, 0),
        (lambda a: jnp.arange(4) + 1, [FOUR], 0, 0),
        (turns(7), [FOUR], 7 * 2 * 4, 0),
        (lambda a, n: turns(n)(a), [FOUR, jnp.asarray(6)], 6 * 2 * 4, 0),
        (halved, [FOUR], 4 + 8 * 4 + 9 * 4, 0),  # the product, the halvings, and the maximum of each condition
        (lambda a, yes: lax.cond(yes, jnp.sin, lambda b: b + b * b, a), [FOUR, jnp.asarray(True)], 4, 4),
        (lambda a, yes: lax.cond(yes, jnp.sin, lambda b: b + b * b, a), [FOUR, jnp.asarray(False)], 8, 0),
        (lambda rows: lax.map(jax.jit(turns(2)), rows), [SQUARE], 3 * 2 * 2 * 3, 0),
        (jax.vmap(halved), [jnp.ones((2, 4))], 8 + 8 * 8 + 9 * 8, 0),
    ],
)
def test_operations_are_counted_as_often_as_they_are_done(function, arguments, flops, transcendental):
    found = count(function, *arguments)
    assert (found.flops, found.transcendental) == (flops, transcendental)


def test_a_loop_over_rows_that_end_at_different_times_counts_each():
    """`lax.map` over rows of which one needs 2 halvings and one 5; XLA's own count takes the body once."""

    def one(a):
        return lax.while_loop(lambda b: b > 1, lambda b: b / 2, a)

    values = jnp.array([4.0, 32.0])
    assert count(lambda a: lax.map(one, a), values).flops == 2 + 5
    once = jax.jit(lambda a: lax.map(one, a)).lower(values).compile().cost_analysis()
    assert once["flops"] < 2 + 5


def test_the_walk_gives_the_programs_own_results():
    from benchmarks.fitting.operations import _Walk

    def program(a):
        carry, rows = lax.scan(lambda c, x: (halved(c + x), c), a[0], a, reverse=True)
        return {"carry": carry, "rows": rows}

    given = jnp.arange(6.0).reshape(2, 3) + 1
    closed = jax.make_jaxpr(program)(given)
    found = _Walk().run(closed.jaxpr, closed.consts, [given])
    for left, right in zip(found, jax.tree.leaves(program(given)), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.skipif(native.why_missing() is not None, reason="no native kernel")
def test_the_native_kernels_passes_are_counted():
    problem = sigmoids(seed=0, num_curves=200, num_checkpoints=24)

    def done(**options):
        chosen = FitOptions(starts=1, **options)
        return count(lambda losses: fit(Sigmoid(), problem.time, losses, options=chosen), problem.losses)

    few, many = done(kernel="native", max_steps=3), done(kernel="native", tolerance=1e-9)
    assert many.transcendental > few.transcendental >= 200 * 24 * (1 + 1)  # a pass of a start, one of the errors
    steps = (many.transcendental - few.transcendental) / (200 * 24)
    assert (many.flops - few.flops) / (200 * 24) == pytest.approx(59 * steps)  # 59 a checkpoint, of which one is exp
    # The same steps by XLA, and a search of all templates at all checkpoints.
    reference = done(kernel="xla", tolerance=1e-9)
    assert 0.05 < many.flops / reference.flops < 0.3
