"""What a fit returns."""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from ..arguments import real_array
from ..curves import Family, native
from ..curves.parts import Parts, apart, in_parts
from ..jax_switches import with_own_switches
from ..presentation import Presented, presented
from ..pytrees import pytree, static
from .codes import counts, has_parameters
from .description import describe_fit
from .far import split_event
from .few_sizes import each, on_host
from .indexing import length_of, rows_of
from .intervals import Interval, error_interval
from .noise import degrees_of_freedom


@pytree
class Fit(Presented):
    """Fits of many curves; every array has the leading shape of the losses.

    ``len(fit)``, ``fit[3]``, ``fit[:10]`` and ``fit[mask]`` are as of an array over the first dimension of the curves.
    ``fit.to_pandas()`` and ``fit.to_xarray()`` are tables of all of it, ``fit.plot(time, losses)`` draws curves.

    Attributes:
        params: parameters by name, units as the family states; NaN where `status` says there is no fit.
        stderr: their standard errors: what would scatter if the same run were measured again, with noise as the
            residuals show it (`FitOptions.noise`): ``(J^T J)⁻¹ J^T C J (J^T J)⁻¹`` with C the noise's covariance.
            NaN for a parameter on a bound (the others' are then given that value) and where the data do not
            determine it. They do not hold what differs between runs of other seeds: see `tsl_jax.compare`.
        rss: what the fit minimises, the (weighted) sum of squared residuals, nat².
        r2: ``1 - rss / (weighted sum of squares around the mean)``.
        num_points: measured points: finite losses with positive weight.
        status: `Status`, one small integer a curve.
        category: `Category`, one small integer a curve; `Category.NONE` for families without events.
        constant: the best constant, the (weighted) mean loss, nat; where `curve_counts` is False it is the prediction.
        noise_correlation: of the noise between neighbouring checkpoints; with fewer than 3 points a parameter what was
            taken for granted: the model's, or 0.
        effective_points: independent points that would say as much of a mean loss. With few, errors are rough and no
            event can be told from noise.
        probabilities: of a token's categories by lower-case name, 0 without a fit; the likeliest is `category`.
            Empty for families without events.
        second_event: probability that residuals hold another event, as a step would be, seen without the two
            neighbouring checkpoints that speak most for it; 0 with fewer than 3 points a parameter. None for families
            without events.
        family: what was fitted (static).
        event_low: where checkpoints are so close for their distance from 0 that float32 cannot tell them apart (2^24 +
            k): what the event's time (`Family.event`) has beside its float32, for programs that JAX traces. Outside of
            them `params` has all of it, in NumPy's float64. None elsewhere.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.array([[30.0], [100.0]])) ** 2)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, losses)
        >>> fit.params["final_loss"].round(2).tolist(), fit.num_points.tolist()
        ([1.0, 1.0], [40, 40])
        >>> fit.predict(jnp.array([30.0, 100.0])).shape
        (2, 2)
    """

    params: dict[str, Float[Array, "*curves"]]
    stderr: dict[str, Float[Array, "*curves"]]
    rss: Float[Array, "*curves"]
    r2: Float[Array, "*curves"]
    num_points: Int[Array, "*curves"]
    status: UInt8[Array, "*curves"]
    category: UInt8[Array, "*curves"]
    constant: Float[Array, "*curves"]
    noise_correlation: Float[Array, "*curves"]
    effective_points: Float[Array, "*curves"]
    probabilities: dict[str, Float[Array, "*curves"]]
    second_event: Float[Array, "*curves"] | None
    family: Family = static()
    event_low: Float[Array, "*curves"] | None = None

    def __len__(self) -> int:
        return length_of(self)

    def __bool__(self) -> bool:
        return True  # also the fit of one curve, which has no length

    def __getitem__(self, index: Any) -> "Fit":
        return rows_of(self, index)

    def __repr__(self) -> str:
        return describe_fit(self)

    @property
    @with_own_switches
    def degrees_of_freedom(self) -> Float[Array, "*curves"]:
        """``n (1 - ρ²)/(1 + ρ²) - p`` of the residual variance, for p parameters: what Student's t of an error needs.

        n is `num_points`, ρ the `noise_correlation`; at least 1.
        """

        def degrees(correlation, num_points):
            return degrees_of_freedom(correlation, num_points, len(self.family.names))

        return each(degrees, self.noise_correlation, self.num_points)

    def interval(self, name: str, level: float = 0.9) -> Interval:
        """Confidence intervals of one parameter from its standard errors alone.

        ``exp(ln p ± t · error / p)`` for `Family.log_parameters` (learning times on a log scale, sharpness, rate,
        exponent, coefficient), ``p ± t · error`` for others; t is the quantile of Student's distribution with
        `degrees_of_freedom`. Where there is no standard error the interval is all that the parameter may be: (0, inf)
        or (-inf, inf). For events near or past the ends of the window a quadratic is no guide: there these intervals
        hold far less often than they say, and `tsl_jax.profile_interval` holds. In particular nothing is said of the
        side of an event that is `Category.LATE` or `Category.EARLY` and has no error, since that is its likeliest
        place, not a bound.

        Args:
            name: of the parameter.
            level: of confidence, between 0 and 1.

        Returns:
            `Interval`, its arrays of shape (\\*curves); NaN for curves without parameters.

        Raises:
            ValueError: the family has no such parameter, or the level is no probability.
        """
        value, error, fitted = self.params.get(name), self.stderr.get(name), has_parameters(on_host(self.status))
        return error_interval(self.family, name, value, error, self.degrees_of_freedom, fitted, level)

    def plot(self, time: Any, losses: Any = None, *, tokens: Any = None, axis: str = "step") -> Any:
        """Draw losses and fitted curves of some tokens: `tsl_jax.plots.plot_tokens`.

        Args:
            time: (checkpoints,) axis values of the fit, which it does not hold.
            losses: (\\*curves, checkpoints) measured losses, nat, as they were fitted; None: curves alone.
            tokens: which curves, in the order of drawing; by default all of at most 10, else some of every kind.
            axis: what to call the axis.

        Returns:
            A figure of Matplotlib.

        Raises:
            ValueError: times or losses of another shape, or no such token.
        """
        return presented("plot", self, losses, time=time, tokens=tokens, axis=axis)

    def predict(
        self, time: Float[Array, " times"], kind: Literal["counted", "curve", "constant"] = "counted"
    ) -> Float[Array, "*curves times"]:
        """Fitted losses at ``time``: for each curve the one that counts, or all curves, or all constants.

        Args:
            time: (times,) axis values, in the unit of the fit's axis.
            kind: ``"counted"`` (default): the curve or the constant, by `curve_counts`; ``"curve"``; ``"constant"``.

        Returns:
            (\\*curves, times) losses in nat. What counts and constants are NaN only for curves without usable data.

        Raises:
            ValueError: an unknown ``kind``, or times that are no array of one dimension. TypeError: they are no real
                numbers.
        """
        return predict(self.family, time, self.params, self.status, self.category, self.constant, kind, self.event_low)


@with_own_switches
def predict(family, time, params, status, category, constant, kind="counted", event_low=None):
    """`Fit.predict` for arrays that come from anywhere, such as a fit store; ``time`` may be in two `Parts`."""
    if kind not in ("counted", "curve", "constant"):
        raise ValueError(f"kind: got {kind!r}, expected 'counted', 'curve' or 'constant'")
    time, parts = (time.high, time) if isinstance(time, Parts) else (native(real_array("time", time)), None)
    if np.ndim(time) != 1:
        cure = f", such as [{time}]" if np.ndim(time) == 0 else ""
        raise ValueError(f"time: got shape {np.shape(time)}, expected (times,){cure}")
    params, event_low = split_event(family, params, event_low)
    low = 0 if event_low is None else event_low
    parts = parts or in_parts(time)

    def losses(status, category, constant, low, *values):
        flat = jnp.broadcast_to(jnp.asarray(constant)[..., None], (*jnp.shape(constant), len(time)))
        if kind == "constant":
            return flat
        of_curves = {name: jnp.asarray(value)[..., None] for name, value in zip(params, values, strict=True)}
        if event_low is None:
            curve = family.curve(time, of_curves)
        else:
            event = Parts(of_curves[family.event], jnp.asarray(low)[..., None])
            curve = family.curve_around(apart(family.scale, parts, event), of_curves)
        if kind == "curve":
            return curve
        return jnp.where(counts(jnp.asarray(status), jnp.asarray(category))[..., None], curve, flat)

    return each(losses, status, category, constant, low, *params.values())
