"""Linear algebra of small matrices: against NumPy in float64, on matrices as badly scaled as residuals come."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tsl_jax as tsl
from tsl_jax.linalg.small import (
    back_substitute,
    eliminate,
    jacobi_svd,
    solve,
    square_within,
    triangle,
    upper_inverse,
    whiten,
)

SIZES = [(1, 1), (2, 2), (3, 3), (8, 8), (5, 3), (9, 4)]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def matrix(shape, seed=0):
    """Columns whose sizes spread over six decades."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 3, shape[1])


@pytest.mark.parametrize("shape", SIZES)
def test_triangle_is_that_of_qr(shape):
    table = matrix(shape)
    want = np.linalg.qr(table, mode="r")
    want *= np.sign(np.diagonal(want))[:, None]
    assert np.allclose(triangle(table), want, rtol=1e-9, atol=1e-13 * np.abs(want).max(0))


@pytest.mark.parametrize("shape", SIZES)
def test_singular_values_and_axes_make_the_matrix(shape):
    table = matrix(shape)
    directions, sizes, axes = jacobi_svd(table)
    assert np.allclose(np.sort(sizes), np.sort(np.linalg.svd(table)[1]), rtol=1e-8)
    assert np.allclose(directions * sizes @ axes, table, rtol=1e-9, atol=1e-13 * np.abs(table).max(0))
    assert np.allclose(directions.T @ directions, np.eye(shape[1]), atol=1e-13)
    assert np.allclose(axes @ axes.T, np.eye(shape[1]), atol=1e-13)


def test_small_singular_values_keep_their_digits():
    """Of the columns' own scale: LAPACK's are exact only to the largest."""
    rng = np.random.default_rng(1)
    table, scale = rng.normal(size=(4, 4)), np.array([1.0, 1e-30, 1e-60, 1e-90])
    sizes = np.sort(jacobi_svd(table * scale)[1])[::-1]
    assert np.allclose(sizes, np.diagonal(triangle(table * scale)), rtol=1e-13)


@pytest.mark.parametrize("shape", SIZES)
def test_solve_is_least_squares(shape):
    table = matrix(shape)
    right = np.random.default_rng(2).normal(size=shape[0])
    scale = np.linalg.norm(table, axis=0)
    want = np.linalg.lstsq(table / scale, right, rcond=None)[0]
    assert np.allclose(np.asarray(solve(table, right)) * scale, want, rtol=1e-9, atol=1e-12)


def test_what_is_hardly_determined_has_a_large_inverse_not_none():
    """A solution may leave an unknown out; an inverse that did so would call it exact."""
    upper = jnp.array([[1.0, 1.0], [0.0, 1e-18]])
    assert np.allclose(back_substitute(upper, jnp.array([1.0, 1.0])), [1, 0])
    assert np.allclose(upper_inverse(upper), [[1, -1e18], [0, 1e18]])
    assert not np.isfinite(upper_inverse(jnp.array([[1.0, 1.0], [0.0, 0.0]]))).all()


def test_digits_are_not_lost_to_normal_equations():
    """Nearly parallel columns (condition 1e9) whose exact solution is known."""
    small = 2.0**-30
    table = np.array([[1.0, 1.0], [small, 0.0], [0.0, small]])
    assert np.allclose(solve(table, table @ np.array([3.0, -2.0])), [3.0, -2.0], rtol=0, atol=1e-6)


def test_dependent_columns_get_nothing():
    table = matrix((6, 2))
    table = np.concatenate([table, table[:, :1], np.zeros((6, 1))], axis=1)
    want = np.linalg.lstsq(table[:, :2], np.arange(6.0), rcond=None)[0]
    assert np.allclose(solve(table, np.arange(6.0)), [*want, 0, 0], rtol=1e-9)
    sizes = np.asarray(jacobi_svd(table)[1])
    assert np.sum(sizes > 1e-14 * sizes.max()) == 2


def test_what_is_left_is_at_right_angles():
    columns, right = matrix((9, 3)), matrix((9, 2), seed=1)
    upper, along, rest = eliminate(columns, right)
    assert np.allclose(columns.T @ rest, 0, atol=1e-9)
    assert np.allclose(columns @ np.asarray(back_substitute(upper, along)) + rest, right)
    assert np.allclose(upper_inverse(upper) @ upper, np.eye(3), atol=1e-12)


def test_the_part_within_a_span_leaves_dependent_columns_out():
    table, right = matrix((9, 3)), matrix((9, 1), seed=1)[:, 0]
    table = table / np.linalg.norm(table, axis=0)
    own, rest = np.linalg.svd(table, full_matrices=False)[0], np.zeros((9, 1))
    want = np.sum(np.square(own.T @ right))
    assert np.isclose(square_within(table, right), want, rtol=1e-12)
    # Two columns of rounding would otherwise take their share of ``right``.
    dependent = np.concatenate([table @ [[1.0], [2.0], [3.0]] / 6, table[:, :1] / 3, rest, table], axis=1)
    assert np.isclose(square_within(dependent, right), want, rtol=1e-12)
    assert square_within(np.zeros((9, 2)), right) == 0
    nearly = np.stack([table[:, 0], table[:, 0] + 1e-9 * table[:, 1]], axis=1)
    assert np.isclose(
        square_within(nearly, right), np.sum(np.square(np.linalg.qr(table[:, :2])[0].T @ right)), rtol=1e-6
    )


def test_whitening_is_by_the_cholesky_factor():
    root, table = matrix((5, 5)), matrix((5, 2), seed=1)
    covariance = root @ root.T + np.eye(5)
    white, log_det = whiten(covariance, table)
    assert np.allclose(white, np.linalg.solve(np.linalg.cholesky(covariance), table), rtol=1e-9)
    assert np.isclose(2 * log_det, np.linalg.slogdet(covariance)[1], rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_matrix_ends_and_stays_alone(bad):
    tables = np.stack([matrix((3, 3)), np.full((3, 3), bad)])
    sizes = jax.vmap(jacobi_svd)(tables)[1]
    assert np.allclose(np.sort(sizes[0]), np.sort(np.linalg.svd(tables[0])[1]), rtol=1e-9)
    assert not np.isfinite(sizes[1]).all()


def test_the_derivative_of_a_solution():
    table, right = matrix((3, 3)) / 1e3 + np.eye(3), np.arange(3.0)
    _, change = jax.jvp(lambda m: solve(m, right), (table,), (np.ones((3, 3)),))
    want = -np.linalg.solve(table, np.ones((3, 3)) @ np.linalg.solve(table, right))
    assert np.allclose(change, want, rtol=1e-9)


def test_batched_problems_make_no_lapack_call():
    """Such calls stop programs for good on the CPU (see the module); one test of the same search finds them."""
    time, losses = jnp.arange(1.0, 9.0), jnp.ones((4, 8))

    def many(losses):
        return jax.vmap(lambda y: tsl.least_squares(lambda p: y - p[0] * time ** -p[1], jnp.array([1.0, 0.5])))(losses)

    def programs(f, *args):
        return jax.jit(f).lower(*args).as_text()

    assert "lapack" in programs(jnp.linalg.svd, jnp.ones((4, 2, 2)))
    assert "lapack" not in programs(many, losses)
    assert "lapack" not in programs(lambda y: tsl.fit(tsl.Sigmoid(), time, y), losses)
    derivative = jax.jacfwd(lambda y: tsl.fit(tsl.PowerLaw(), time, y).params["exponent"])
    assert "lapack" not in programs(derivative, losses)
