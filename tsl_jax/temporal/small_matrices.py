"""Linear algebra of very many small matrices in plain array operations, which batch better than LAPACK calls."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def whiten(
    covariance: Float[Array, "rows rows"], table: Float[Array, "rows columns"]
) -> tuple[Float[Array, "rows columns"], Float[Array, ""]]:
    """``L^-1 table`` and ``ln det L`` with ``L L' = covariance``, by elimination row after row.

    Args:
        covariance: symmetric, positive definite.
        table: columns to whiten.
    """
    tiny = jnp.finfo(covariance.dtype).tiny

    def eliminate(state, row):
        matrix, columns = state
        root = jnp.sqrt(jnp.maximum(matrix[row, row], tiny))
        line, entry = matrix[row] / root, columns[row] / root
        return (matrix - line[:, None] * line, columns - line[:, None] * entry), (entry, jnp.log(root))

    _, (white, logs) = jax.lax.scan(eliminate, (covariance, table), jnp.arange(len(table)))
    return white, jnp.sum(logs)


def triangle(table: Float[Array, "rows columns"]) -> Float[Array, "columns columns"]:
    """Upper triangle R with ``R'R = table' table``, by modified Gram-Schmidt: no digits lost to the product."""
    size, rest, zero = table.shape[1], list(jnp.moveaxis(table, 1, 0)), jnp.zeros((), table.dtype)
    lines = []
    for k in range(size):
        norm = jnp.sqrt(jnp.sum(jnp.square(rest[k])))
        unit = rest[k] / jnp.where(norm > 0, norm, 1)
        along = [jnp.sum(unit * rest[j]) for j in range(k + 1, size)]
        rest[k + 1 :] = [column - share * unit for column, share in zip(rest[k + 1 :], along, strict=True)]
        lines.append(jnp.stack([zero] * k + [norm, *along]))
    return jnp.stack(lines)


def upper_inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Inverse of an upper triangle whose diagonal is not 0."""
    size, zero = matrix.shape[0], jnp.zeros((), matrix.dtype)
    at = [[matrix[i, j] for j in range(size)] for i in range(size)]
    out = [[zero] * size for _ in range(size)]
    for j in range(size):
        out[j][j] = 1 / at[j][j]
        for i in range(j - 1, -1, -1):
            out[i][j] = -sum((at[i][k] * out[k][j] for k in range(i + 1, j + 1)), zero) / at[i][i]
    return jnp.stack([jnp.stack(line) for line in out])
