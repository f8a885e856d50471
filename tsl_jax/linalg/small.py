"""Linear algebra of very many small matrices in plain array operations: one matrix each, batched by `vmap`.

On the CPU a batched LAPACK call of jaxlib waits, on a thread of XLA's pool, for tasks in the same pool: as many such
calls at once as there are threads stop a program for good. Nothing here calls LAPACK, and small matrices batch better
without it. Elimination is by modified Gram-Schmidt, whose triangles and least-squares solutions lose no more digits
than Householder's (A. Björck, Solving linear least squares problems by Gram-Schmidt orthogonalization, BIT 7, 1967).
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

#: Sweeps after which the rotations of `jacobi_svd` end in any case; six to ten do for sizes up to ten.
_MAX_SWEEPS = 30
#: Rows that `whiten` eliminates before it turns to the others.
_ROWS_AT_ONCE = 8


def eliminate(
    columns: Float[Array, "n p"], right: Float[Array, "n k"]
) -> tuple[Float[Array, "p p"], Float[Array, "p k"], Float[Array, "n k"]]:
    """QR by modified Gram-Schmidt, with right-hand sides carried along.

    Args:
        columns: the matrix; n may be less than p.
        right: right-hand sides.

    Returns:
        The upper triangle R with ``R'R = columns' columns`` and a diagonal of 0 or above; the part of ``right`` along
        the columns of Q, ``Q' right``; the rest of ``right``, at right angles to all columns.
    """
    # Columns of order one, so that no square overflows or vanishes.
    size = lax.stop_gradient(jnp.max(jnp.abs(columns), axis=0, initial=0))
    size = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    number = jnp.arange(len(size))

    def one(state, k):
        columns, right = state
        column = columns[:, k]
        square = jnp.sum(jnp.square(column))
        norm = jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
        unit = (column / jnp.where(square == 0, 1, norm))[:, None]
        line = jnp.where(number > k, jnp.sum(unit * columns, axis=0), 0)
        along = jnp.sum(unit * right, axis=0)
        return (columns - unit * line, right - unit * along), (jnp.where(number == k, norm, line), along)

    # A loop, not unrolled: it runs as fast, and compiles in a third of the time.
    (_, rest), (lines, along) = lax.scan(one, (columns / size, right), number)
    return lines * size, along, rest


def triangle(table: Float[Array, "n p"]) -> Float[Array, "p p"]:
    """Upper triangle R with ``R'R = table' table``: no digits lost to the product."""
    return eliminate(table, table[:, :0])[0]


def back_substitute(upper: Float[Array, "p p"], right: Float[Array, "p *k"]) -> Float[Array, "p *k"]:
    """``upper^-1 right`` of an upper triangle, by back substitution.

    Where the diagonal is no more than the rounding of its column, the unknown is set to 0: a basic solution.
    """
    diagonal = jnp.diagonal(upper)
    least = len(upper) * jnp.finfo(upper.dtype).eps * jnp.max(jnp.abs(upper), axis=0)
    known = jnp.abs(diagonal) > least
    return _substitute(upper, jnp.where(known, 1 / jnp.where(known, diagonal, 1), 0), right)


def upper_inverse(upper: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """Inverse of an upper triangle; infinite or NaN where its diagonal has a 0, which no solution hides."""
    return _substitute(upper, 1 / jnp.diagonal(upper), jnp.eye(len(upper), dtype=upper.dtype))


def _substitute(upper, inverse_diagonal, right):
    def one(found, i):
        value = (right[i] - jnp.tensordot(upper[i], found, 1, precision="highest")) * inverse_diagonal[i]
        return found.at[i].set(value), None

    return lax.scan(one, jnp.zeros_like(right), jnp.arange(len(upper)), reverse=True)[0]


def solve(matrix: Float[Array, "n p"], right: Float[Array, " n"]) -> Float[Array, " p"]:
    """The x that minimises ``|matrix x - right|``, n ≥ p; for a square matrix the solution of the equations.

    Columns that depend on those before them, to rounding, get 0.
    """
    upper, along, _ = eliminate(matrix, right[:, None])
    return back_substitute(upper, along[:, 0])


def square_within(columns: Float[Array, "n p"], right: Float[Array, " n"]) -> Float[Array, ""]:
    """Sum of squares of the part of ``right`` that lies in the span of the columns, which are of order one or 0.

    Modified Gram-Schmidt, the longest remaining column first; what is left of dependent columns is rounding and does
    not count.
    """
    size = columns.shape[1]
    number = jnp.arange(size)
    least = 4 * size * jnp.finfo(columns.dtype).eps

    def one(state, _):
        columns, right, first = state
        squares = jnp.sum(jnp.square(columns), axis=0)
        longest = jnp.max(squares)
        first = jnp.maximum(first, longest)
        counts = longest > least**2 * first
        column = jnp.sum(jnp.where(number == jnp.argmax(squares), columns, 0), axis=1)
        unit = jnp.where(counts, column / jnp.sqrt(jnp.where(counts, longest, 1)), 0)
        along = jnp.sum(unit * right)
        columns = columns - unit[:, None] * jnp.sum(unit[:, None] * columns, axis=0)
        return (columns, right - unit * along, first), jnp.square(along)

    start = columns, right, jnp.zeros((), columns.dtype)
    return jnp.sum(lax.scan(one, start, length=size)[1])


def jacobi_svd(
    matrix: Float[Array, "n p"],
) -> tuple[Float[Array, "n p"], Float[Array, " p"], Float[Array, "p p"]]:
    """Singular value decomposition ``matrix = directions · diag(sizes) · axes`` by one-sided Jacobi rotations.

    Small singular values keep their digits relative to the columns they come from (J. Demmel and K. Veselić, Jacobi's
    method is more accurate than QR, SIAM J. Matrix Anal. Appl. 13, 1992).

    Returns:
        Directions (columns; 0 where the size is), sizes in no order, and axes (rows). NaN for a matrix with NaN.
    """
    n, p = matrix.shape
    pairs = (p + 1) // 2
    largest = jnp.max(jnp.abs(matrix), initial=0)
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    # Rotations of the columns, told to the identity below.
    table = jnp.concatenate([matrix / unit, jnp.eye(p, dtype=matrix.dtype)])
    table = jnp.pad(table, ((0, 0), (0, 2 * pairs - p)))
    turn = _next_round(pairs)
    enough = 0.01 * np.sqrt(jnp.finfo(matrix.dtype).eps)  # squared by the sweep that saw it

    def rotate(state, _):
        table, most = state
        left, right = table[:, :pairs], table[:, pairs:]
        a, b = jnp.sum(jnp.square(left[:n]), axis=0), jnp.sum(jnp.square(right[:n]), axis=0)
        c = jnp.sum(left[:n] * right[:n], axis=0)
        lengths = jnp.sqrt(a) * jnp.sqrt(b)
        turned = (c != 0) & (lengths > 0)
        ratio = (b - a) / jnp.where(turned, 2 * c, 1)
        # |ratio| + √(1 + ratio²) may be infinite: the tangent is 0 then, as it should be.
        tangent = jnp.where(ratio < 0, -1, 1) / (jnp.abs(ratio) + jnp.hypot(1, ratio))
        tangent = jnp.where(turned, tangent, 0)
        cosine = lax.rsqrt(1 + jnp.square(tangent))
        sine = cosine * tangent
        table = jnp.concatenate([cosine * left - sine * right, sine * left + cosine * right], axis=1)
        most = jnp.maximum(most, jnp.max(jnp.where(turned, jnp.abs(c) / jnp.where(turned, lengths, 1), 0)))
        return (table[:, turn], most), None

    def sweep(state):
        table, _, number = state
        (table, most), _ = lax.scan(rotate, (table, jnp.zeros((), table.dtype)), length=2 * pairs - 1)
        return table, most, number + 1

    def running(state):
        return (state[1] > enough) & (state[2] < _MAX_SWEEPS)

    start = (table, jnp.ones((), table.dtype), jnp.zeros((), jnp.int32))
    table = lax.while_loop(running, sweep, start)[0][:, :p]
    scaled = table[:n]
    sizes = jnp.sqrt(jnp.sum(jnp.square(scaled), axis=0))
    return scaled / jnp.where(sizes > 0, sizes, 1), sizes * unit, table[n:].T


def _next_round(pairs: int) -> np.ndarray:
    """The columns' order in the next round of a tournament in which each meets each: all but the first move on."""
    upper, lower = np.arange(pairs), np.arange(pairs, 2 * pairs)
    if pairs == 1:
        return np.arange(2)
    return np.concatenate([[upper[0], lower[0]], upper[1:-1], lower[1:], [upper[-1]]])


def whiten(
    covariance: Float[Array, "rows rows"], table: Float[Array, "rows columns"]
) -> tuple[Float[Array, "rows columns"], Float[Array, ""]]:
    """``L^-1 table`` and ``ln det L`` with ``L L' = covariance``, by elimination of a few rows at a time.

    Args:
        covariance: symmetric, positive definite.
        table: columns to whiten.
    """
    tiny, rows, size = jnp.finfo(covariance.dtype).tiny, len(table), _ROWS_AT_ONCE
    more = -rows % size
    joined = jnp.concatenate([jnp.pad(covariance, (0, more)), jnp.pad(table, ((0, more), (0, 0)))], axis=1)
    joined = joined + jnp.eye(*joined.shape, dtype=joined.dtype) * (jnp.arange(len(joined)) >= rows)[:, None]
    number = jnp.arange(size)

    def eliminate_rows(joined, first):
        def eliminate_row(panel, row):
            root = jnp.sqrt(jnp.maximum(panel[row, first + row], tiny))
            line = panel[row] / root
            below = jnp.where(number > row, panel[:, first + row] / root, 0)
            panel = jnp.where((number == row)[:, None], line, panel - below[:, None] * line)
            return panel, jnp.log(root)

        panel = lax.dynamic_slice_in_dim(joined, first, size)
        panel, logs = lax.scan(eliminate_row, panel, number)
        # All that these rows take out of the others, as one product.
        joined = joined - jnp.matmul(panel[:, : len(joined)].T, panel, precision="highest")
        return joined, (panel[:, len(joined) :], jnp.sum(logs))

    _, (white, logs) = lax.scan(eliminate_rows, joined, jnp.arange(0, len(joined), size))
    return white.reshape(len(joined), -1)[:rows], jnp.sum(logs)
