"""What is known is computed in NumPy: the same as JAX's programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tsl_jax.linalg import known, on_host, small


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def tables(size=3, zeros=0):
    """(2, 7, size) tables; the last columns are 0."""
    made = np.random.default_rng(0).normal(size=(2, 7, size))
    made[..., size - zeros :] = 0
    return made


@pytest.mark.parametrize("zeros", [0, 2])
def test_elimination_and_substitution_are_those_of_small(zeros):
    columns, right = tables(4, zeros), np.random.default_rng(1).normal(size=(2, 7, 2))
    found = on_host.eliminate(columns, right)
    for got, want in zip(found, jax.vmap(small.eliminate)(columns, right), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)
    solved = on_host.back_substitute(*found[:2])
    np.testing.assert_allclose(solved, jax.vmap(small.back_substitute)(*found[:2]), atol=1e-12)
    assert np.all(solved[:, 4 - zeros :] == 0)


def test_one_system_is_solved_as_small_solves_it():
    matrix, right = tables()[0, :3], np.arange(3.0)
    np.testing.assert_allclose(on_host.solve(matrix, right), small.solve(matrix, right), rtol=1e-10)


def test_inverses_of_triangles_are_those_of_small():
    np.testing.assert_allclose(
        known.triangle_inverses(tables()), known.triangle_inverses(jnp.asarray(tables())), rtol=1e-10
    )


def spread(values, weight, power):
    xp = known.module_of(values)
    return {"number": xp.sum(values > 0), "spread": known.product("i,i->", weight, values**power) / xp.zeros(())}


def test_known_values_compile_nothing_and_traced_ones_give_the_same():
    values, weight = np.array([1.0, -2.0], np.float32), np.ones(2, np.float32)
    found = known.computed(spread, values, weight, dtype=np.float32, power=2)
    traced = jax.jit(lambda *a: known.computed(spread, *a, dtype=np.float32, power=2))(values, weight)
    assert isinstance(found["spread"], jax.Array)
    assert found["spread"].dtype == np.float32
    assert float(found["spread"]) == float(traced["spread"]) == np.inf  # and no warning
    assert int(found["number"]) == int(traced["number"]) == 1


def test_what_the_results_cannot_hold_is_infinite_and_warns_of_nothing():
    assert float(known.computed(np.square, np.array(1e60), dtype=np.float32)) == np.inf
