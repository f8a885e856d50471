"""Options of `tsl.least_squares`."""

import dataclasses
from typing import Literal

from ...arguments import real_number, whole_number
from .losses import LOSSES


@dataclasses.dataclass(frozen=True)
class LeastSquaresOptions:
    """Options of `least_squares`.

    Args:
        max_steps: most steps tried, each with one residual and Jacobian; a problem that needs more gets
            `Status.MAX_STEPS` and the best point found.
        tolerance: converged when an undamped step would lower the rss by less than this fraction (were the
            residual linear). ``None`` (default): 1e-8 in float32, 1e-20 in float64, which leaves parameters
            within about 1e-4 and 1e-10 of a standard error from the minimum, or as close as rounding allows.
        initial_radius: length of the first step at most, relative to the start, both in parameters scaled by
            the column norms of the Jacobian. Smaller for starts from which full steps run away.
        loss: ``"linear"``, plain least squares; or, for residuals with outliers, ``"huber"`` or ``"soft_l1"``, as in
            `scipy.optimize.least_squares`: ``Σ f² ρ(w r²/f²)`` with f the `f_scale` and ``ρ(z) = z``; ``z`` up to 1
            and ``2√z - 1`` beyond; ``2(√(1 + z) - 1)``.
        f_scale: weighted residuals below it are taken for good ones; without effect on ``"linear"``.

    Raises:
        ValueError: an option is outside its range; the message names it and the range.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> def residual(p):  # Rosenbrock's valley
        ...     return jnp.array([1 - p[0], 10 * (p[1] - p[0] ** 2), 0.0])
        >>> options = tsl.LeastSquaresOptions(max_steps=2)
        >>> short = tsl.least_squares(residual, jnp.array([-1.2, 1.0]), options=options)
        >>> tsl.Status(int(short.status)).name, int(short.num_steps)
        ('MAX_STEPS', 2)
    """

    max_steps: int = 2000
    tolerance: float | None = None
    initial_radius: float = 1.0
    loss: Literal["linear", "huber", "soft_l1"] = "linear"
    f_scale: float = 1.0

    def __post_init__(self) -> None:
        whole_number("LeastSquaresOptions.max_steps", self.max_steps)
        for name in ("tolerance", "initial_radius", "f_scale"):
            value = getattr(self, name)
            expected = "a positive number" + " or None" * (name == "tolerance")
            if (
                not (name == "tolerance" and value is None)
                and not real_number(f"LeastSquaresOptions.{name}", value, expected) > 0
            ):
                raise ValueError(f"LeastSquaresOptions.{name}: got {value!r}, expected {expected}")
        if self.f_scale == float("inf"):
            raise ValueError(f"LeastSquaresOptions.f_scale: got {self.f_scale!r}, expected a finite number")
        if self.loss not in LOSSES:
            raise ValueError(f"LeastSquaresOptions.loss: got {self.loss!r}, expected 'linear', 'huber' or 'soft_l1'")
