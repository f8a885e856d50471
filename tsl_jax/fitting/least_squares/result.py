"""What `tsl.least_squares` returns."""

from jaxtyping import Array, Float, Int, PyTree, UInt8

from ...pytrees import pytree


@pytree
class LeastSquaresFit:
    """Result of `least_squares`; every array gets the leading axes of `vmap`.

    Attributes:
        params: parameters, a pytree like ``p0``; NaN where `status` says there is no fit.
        stderr: their standard errors, a pytree like ``p0``; NaN for a parameter on a bound (the others' are
            then given that value), where the data do not determine it, and with as many points as parameters:
            there are no degrees of freedom then, and nothing says how large the noise is.
        covariance: ``s² (J'WJ)^-1`` with ``s² = rss / (num_points - p)``, for a robust loss
            ``s² = Σ ψ² / (num_points - p) / (mean ψ')²`` (Huber 1981), ψ half the derivative of the loss; in the
            order of `jax.flatten_util.ravel_pytree`; NaN as in `stderr`.
        rss: what the fit minimises, the (weighted) sum of squared residuals or of their robust loss: twice SciPy's
            cost. 0 also where it is below the smallest number of its type.
        num_points: residuals that count: all, or those of positive weight.
        status: `Status`, a small integer.
        num_steps: steps tried.

    Example:
        >>> import jax, jax.numpy as jnp, tsl_jax as tsl
        >>> def residual(p, x, y):
        ...     return p["slope"] * x + p["level"] - y
        >>> x, y = jnp.arange(5.0), jnp.array([[1.0, 2.1, 2.9, 4.1, 4.9], [0.0, 0.1, 0.0, -0.1, 0.0]])
        >>> fit = jax.vmap(lambda y: tsl.least_squares(residual, {"slope": 0.0, "level": 0.0}, x, y))(y)
        >>> fit.covariance.shape
        (2, 2, 2)
        >>> [round(float(slope), 2) for slope in fit.params["slope"]]
        [0.98, -0.02]
    """

    params: PyTree[Float[Array, "..."]]
    stderr: PyTree[Float[Array, "..."]]
    covariance: Float[Array, "*batch p p"]
    rss: Float[Array, "*batch"]
    num_points: Int[Array, "*batch"]
    status: UInt8[Array, "*batch"]
    num_steps: Int[Array, "*batch"]
