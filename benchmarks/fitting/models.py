"""The curve families as the peers see them: free parameters, a data-driven start, an analytic Jacobian.

Functions take ``xp``, which is `numpy` or `jax.numpy`. Shapes' parameters are logarithms, so that no method needs
bounds for them; nothing bounds the plateaus, which can only lower the peers' rss.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .problems import Problem

_START_SHARPNESS = 32.0


class Model(NamedTuple):
    """One family for the peers.

    Attributes:
        coordinate: problem -> x (checkpoints,).
        curve: (x, p, xp) -> losses (checkpoints,).
        start: (x, losses, xp) -> p of one curve.
        jacobian: (x, p) -> (checkpoints, parameters), in NumPy.
        named: (problem, p (curves, parameters)) -> named parameters (curves,).
    """

    coordinate: Callable[[Problem], NDArray]
    curve: Callable[..., Any]
    start: Callable[..., Any]
    jacobian: Callable[..., NDArray]
    named: Callable[[Problem, NDArray], dict[str, NDArray]]


def split_start(x, losses, xp):
    """Start of a sigmoid: the best split into two plateaus, as (before, after, event, log sharpness)."""
    num = losses.shape[-1]
    before_num = xp.arange(1, num)
    total = xp.cumsum(losses, -1)
    before = total[..., :-1] / before_num
    after = (total[..., -1:] - total[..., :-1]) / (num - before_num)
    k = xp.argmax((before - after) ** 2 * before_num * (num - before_num), -1)
    return xp.stack([before[k], after[k], 0.5 * (x[k] + x[k + 1]), xp.log(x[k] * 0 + _START_SHARPNESS)])


def sigmoid(x, p, xp):
    """``after + (before - after) · σ(-exp(p₃) · (x - p₂))``."""
    return p[1] + (p[0] - p[1]) * 0.5 * (1 - xp.tanh(0.5 * xp.exp(p[3]) * (x - p[2])))


def sigmoid_jacobian(x, p):
    """Derivatives of `sigmoid` by its four parameters."""
    z = np.exp(p[3]) * (x - p[2])
    s = 0.5 * (1 - np.tanh(0.5 * z))
    slope = (p[0] - p[1]) * s * (1 - s)
    return np.stack([s, 1 - s, slope * np.exp(p[3]), -slope * z], 1)


def sigmoid_named(problem: Problem, p: NDArray) -> dict[str, NDArray]:
    """The sigmoid's named parameters."""
    unit = problem.u[-1] - problem.u[0]
    u_learn = problem.u[0] + unit * p[:, 2]
    with np.errstate(over="ignore"):
        return {
            "learning_time": np.exp(u_learn) if problem.scale == "log" else u_learn,
            "sharpness": np.exp(p[:, 3]) / unit,
            "loss_drop": p[:, 0] - p[:, 1],
            "final_loss": p[:, 1],
        }


def half_way_start(half):
    """Start of a fall from the first loss to the last, (drop, log rate, end): the rate is ``half / x`` half way."""

    def start(x, losses, xp):
        drop = losses[0] - losses[-1]
        k = xp.argmax((losses - losses[-1]) / xp.where(drop == 0, 1, drop) < 0.5)
        return xp.stack([drop, xp.log(half / xp.maximum(x[k], 1e-3)), losses[-1]])

    return start


def hyperbola(x, p, xp):
    """``p₀ / (1 + exp(p₁) · x) + p₂``."""
    return p[0] / (1 + xp.exp(p[1]) * x) + p[2]


def hyperbola_jacobian(x, p):
    """Derivatives of `hyperbola` by its three parameters."""
    s = 1 / (1 + np.exp(p[1]) * x)
    return np.stack([s, -p[0] * s * (1 - s), np.ones_like(x)], 1)


def hyperbola_named(problem: Problem, p: NDArray) -> dict[str, NDArray]:
    """The position law's named parameters."""
    return {"amplitude": p[:, 0], "rate": np.exp(p[:, 1]) / problem.u[-1], "floor": p[:, 2]}


def power_law(x, p, xp):
    """``p₀ · exp(-exp(p₁) · x) + p₂``: a power of the axis, counted from its first value."""
    return p[0] * xp.exp(-xp.exp(p[1]) * x) + p[2]


def power_law_jacobian(x, p):
    """Derivatives of `power_law` by its three parameters."""
    s = np.exp(-np.exp(p[1]) * x)
    return np.stack([s, -p[0] * s * np.exp(p[1]) * x, np.ones_like(x)], 1)


def power_law_named(problem: Problem, p: NDArray) -> dict[str, NDArray]:
    """The macroscopic law's named parameters."""
    exponent = np.exp(p[:, 1]) / (problem.u[-1] - problem.u[0])
    return {"coefficient": p[:, 0] * np.exp(exponent * problem.u[0]), "exponent": exponent, "floor": p[:, 2]}


MODELS = {
    "sigmoid": Model(lambda problem: problem.x, sigmoid, split_start, sigmoid_jacobian, sigmoid_named),
    "hyperbola": Model(
        lambda problem: problem.u / problem.u[-1], hyperbola, half_way_start(1.0), hyperbola_jacobian, hyperbola_named
    ),
    "power_law": Model(
        lambda problem: problem.x, power_law, half_way_start(np.log(2.0)), power_law_jacobian, power_law_named
    ),
}
