"""The token law."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ..jax_switches import with_own_switches
from .arrays import jax_array
from .family import Family, Parameter
from .parts import apart, in_parts, is_narrow, is_wider


@dataclasses.dataclass(frozen=True)
class Sigmoid(Family):
    """Loss of one token over training, with ``u = ln a`` (``scale="log"``) or ``u = a`` (``scale="linear"``):

        ``loss(u) = final_loss + loss_drop · (1 - σ(sharpness · (u - u_learn)))``

    ``learning_time`` is the axis value at ``u_learn``; ``loss_drop`` may be negative (forgetting); ``sharpness > 0``.
    Source: arXiv 2606.29858. The shape is ``σ(-exp(theta₁)·(x - theta₀))``.

    Args:
        scale: ``"log"`` (u = ln a, the default) or ``"linear"`` (u = a).

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(10.0, 1e4, 64)
        >>> truth = dict(learning_time=400.0, sharpness=3.0, loss_drop=5.0, final_loss=1.0)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, tsl.Sigmoid().curve(step, truth))
        >>> round(float(fit.params["learning_time"]))
        400
    """

    name = "sigmoid"
    parameters = Parameter.several(learning_time="axis", sharpness="1/u", loss_drop="nat", final_loss="nat")
    event = "learning_time"
    scale: Literal["linear", "log"] = "log"

    @property
    def log_parameters(self):
        return ("learning_time", "sharpness") if self.scale == "log" else ("sharpness",)

    def shape(self, x, theta):
        return _halves(jnp.exp(theta[1]) * (x - theta[0]))[1]

    def complement(self, x, theta):
        return _halves(jnp.exp(theta[1]) * (x - theta[0]))[0]

    def anchor(self, x, theta):
        # Distance to the nearest checkpoint, which is found by one comparison with the middles between checkpoints.
        passed = theta[0] > (x[1:, None] + x[:-1, None]) / 2
        return jnp.max(jnp.where(passed, x[1:, None], x[0]), axis=0) - theta[0]

    def move(self, anchor, theta, step):
        # With few checkpoints on the transition, sharpness and centre trade off along a curved valley on which the
        # checkpoint nearest to the centre keeps its loss. Steps hold that checkpoint's logit while sharpness changes.
        return jnp.stack([theta[0] + anchor - (anchor - step[0]) * jnp.exp(-step[1]), theta[1] + step[1]])

    def bounds(self, x):
        # Up to one window outside on both sides; from nearly straight across the window to a step between the two
        # closest checkpoints that is complete in float32 (σ(-20) < 2^-24).
        closest = jnp.maximum(jnp.min(x[1:] - x[:-1]), 1e-6)
        lower = jnp.asarray([-1.0, jnp.log(0.5)], x.dtype)
        return lower, jnp.stack([jnp.asarray(2.0, x.dtype), jnp.log(40 / closest)])

    def resolution(self, x, theta):
        # A step that is complete between two checkpoints may lie anywhere between them: a uniform distribution.
        after = jnp.clip(jnp.searchsorted(x, theta[0], method="scan_unrolled"), 1, len(x) - 1)
        inside = (theta[0] >= x[0]) & (theta[0] <= x[-1])
        gap = jnp.where(inside, x[after] - x[after - 1], 0)
        unresolved = jnp.exp(theta[1]) * gap > _COMPLETE
        return jnp.stack([jnp.where(unresolved, gap * gap / 12, 0), jnp.zeros_like(gap)])

    def grid(self, x):
        # Laid out over checkpoint indices, so that templates are as dense as the data whatever the spacing: widths
        # from half a gap to the window in equal ratios, centres a fraction of a width apart.
        index, half_width = _template_layout(len(x))
        ends = jnp.maximum(jnp.stack([x[1] - x[0], x[-1] - x[-2]]), 1 / (len(x) - 1))

        def at(i):
            left = np.clip(i.astype(int), 0, len(x) - 2)
            parts = np.clip(i - left, 0, 1), np.minimum(i, 0), np.maximum(i - (len(x) - 1), 0)
            fraction, before, after = (part.astype(x.dtype) for part in parts)
            return x[left] + fraction * (x[left + 1] - x[left]) + before * ends[0] + after * ends[1]

        centre, width = at(index), at(index + half_width) - at(index - half_width)
        lower, upper = self.bounds(x)
        return jnp.clip(jnp.stack([centre, jnp.log(_RISE / width)], axis=1), lower, upper)

    def named(self, offset, amplitude, theta, window):
        origin, unit = window
        u_learn = origin + unit * theta[0]
        return {
            "learning_time": jnp.exp(u_learn) if self.scale == "log" else u_learn,
            "sharpness": jnp.exp(theta[1]) / unit,
            "loss_drop": amplitude,
            "final_loss": offset,
        }

    @with_own_switches
    def curve(self, axis, params):
        time = params["learning_time"]
        known = not any(isinstance(value, jax.Array) for value in (axis, time))
        short = jax.dtypes.canonicalize_dtype(np.float64) == np.float32
        if known and short and (is_wider(time, params["sharpness"]) or is_narrow(axis)):
            return self.curve_around(apart(self.scale, in_parts(axis), in_parts(time)), params)
        u, u_learn = self.coordinate(jax_array(axis)), self.coordinate(jnp.asarray(time))
        return self.curve_around(u - u_learn, params)

    def event_at(self, theta):
        return theta[0]

    def curve_around(self, u, params):
        return params["final_loss"] + params["loss_drop"] * jax.nn.sigmoid(-params["sharpness"] * u)


@jax.custom_jvp
def _halves(logit):
    """``σ(logit), σ(-logit)`` from one exponential, both to full relative precision."""
    odds = jnp.exp(jnp.clip(logit, -30, 30))  # where neither float32 nor its square overflows
    low = 1 / (1 + odds)
    return odds * low, low


@_halves.defjvp
def _halves_jvp(primals, tangents):
    high, low = _halves(*primals)
    slope = high * low * tangents[0]
    return (high, low), (slope, -slope)


# Measured on noisy sigmoids: sparser grids lose 0.04 to 0.3% of the curves to other minima, denser ones gain nothing.
# Many checkpoints tell apart what few do not: with 128 half as many narrow templates do, with 256 a quarter.
_SPACING, _LEAST_SPACING, _RATIO = 0.5, 0.25, 1.5
#: Sharpness times distance of two checkpoints from which on a step counts as complete between them.
_COMPLETE = 6.0
_RISE = 6.0  # sharpness times width of a template: from 95% to 5% of the drop


def _template_layout(num_checkpoints):
    """Centres and half widths of the templates, in units of checkpoint indices."""
    last = num_checkpoints - 1
    least_spacing = _LEAST_SPACING * min(max(num_checkpoints // 64, 1), 4)
    centres, half_widths = [], []
    half_width = 0.25
    while half_width < 2 * last:
        reach = min(half_width, last / 2)
        number = int(np.ceil((last + 2 * reach) / max(_SPACING * half_width, least_spacing))) + 1
        centres.append(np.linspace(-reach, last + reach, number))
        half_widths.append(np.full(number, half_width))
        half_width *= 2 if half_width < 0.5 else _RATIO
    return np.concatenate(centres), np.concatenate(half_widths)
