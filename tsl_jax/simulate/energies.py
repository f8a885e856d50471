"""A random-energy landscape at low temperature: why the loss of a softmax student falls as the cube root of time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.integrate import quad
from scipy.special import ndtri
from scipy.stats import norm

from ..jax_switches import with_own_switches
from ..pytrees import pytree
from . import checks
from .softmax_student import divergence

#: Gaps between the two lowest energies are drawn as the fourth power of an even spread, and weighted accordingly:
#: what happens at low temperature hangs on the few small ones.
_CROWDING = 4
#: Points at which the flow is summed, from β = 0 to where e^-7 of the way to the teacher is left.
_POINTS, _LAST = 512, 7.0


@pytree
class Landscape:
    """A random-energy landscape at some inverse temperatures, means over landscapes.

    Attributes:
        beta: (betas,) inverse temperatures.
        free_energy: (betas,) ``F = -⟨ln Σ e^(-βE)⟩ / β``.
        internal_energy: (betas,) ``U = ⟨Σ E e^(-βE) / Σ e^(-βE)⟩``.
        loss: (betas,) divergence of the student at β from the teacher, ``⟨KL(p_β*, p_β)⟩``, nat.
        gradient: (betas,) ``-dL/dβ = U(β) - U(β*)``.
    """

    beta: Float[Array, " betas"]
    free_energy: Float[Array, " betas"]
    internal_energy: Float[Array, " betas"]
    loss: Float[Array, " betas"]
    gradient: Float[Array, " betas"]


@pytree
class Flow:
    """Gradient flow of the student's inverse temperature.

    Attributes:
        time: (rows,) dynamic time in units in which ``dβ/dτ = -dL/dβ``.
        beta: (rows,) inverse temperature.
        loss: (rows,) nat.
    """

    time: Float[Array, " rows"]
    beta: Float[Array, " rows"]
    loss: Float[Array, " rows"]


@with_own_switches
def landscape(
    beta: ArrayLike, teacher_beta: float, *, classes: int = 128, samples: int = 2048, seed: int = 0
) -> Landscape:
    """Free energy, internal energy and loss of a random-energy landscape.

    Classes have independent energies, ``E ~ N(0, 1)``; teacher and student are the Boltzmann distributions
    ``p_β ∝ e^(-βE)`` at β* and β, as when the student's logits point along the teacher's. Then
    ``L(β) = ⟨ln Z(β) - ln Z(β*)⟩ + (β - β*) U(β*)``, and ``-dL/dβ = U(β) - U(β*)``. Beyond
    ``β = √(2 ln classes)``, where the landscape freezes, only the lowest two energies count:
    `low_temperature_constant`.

    Args:
        beta: (betas,) of the student, above 0.
        teacher_beta: β*, the teacher's; 1/temperature of `teacher_student`.
        classes: of the landscape.
        samples: landscapes to average over; the same for every β.
        seed: of the random numbers.

    Returns:
        `Landscape`, float32.

    Raises:
        ValueError: an inverse temperature that is not positive, or a count out of range.

    Example:
        >>> cold = landscape([20.0, 40.0, 80.0], 1e4, classes=64)
        >>> [round(float(value), 1) for value in cold.loss * cold.beta / low_temperature_constant(64)]
        [1.0, 1.0, 1.0]

    Source: the theory of arXiv 2602.03685; the random-energy model is B. Derrida's, Phys. Rev. B 24, 2613 (1981).
    """
    beta = jnp.asarray(checks.positive_numbers("beta", beta), jnp.float32)
    teacher_beta = checks.number("teacher_beta", teacher_beta, 0.0, above=True)
    return Landscape(beta, *_at(beta, jnp.float32(teacher_beta), *_energies(classes, samples, seed)))


def low_temperature_constant(classes: int) -> float:
    """The constant K of the low-temperature laws ``L = K/β`` and ``-dL/dβ = K/β²``, for a teacher at β* = ∞.

    The student errs where the gap g between the two lowest energies is below about 1/β. Gaps near 0 have a density ρ
    that does not vanish, so ``L = ρ ∫ ln(1 + e^(-βg)) dg = π²ρ/(12β)``: ``K = π²ρ/12`` with
    ``ρ = n(n - 1) ∫ φ(z)² Φ(z)^(n-2) dz`` for n classes, which approaches ``√(2 ln n)``. With a teacher at β*,
    ``-dL/dβ = K (1/β² - 1/β*²)``.

    Args:
        classes: n.

    Returns:
        K.

    Raises:
        ValueError: fewer than 2 classes.

    Example:
        >>> round(low_temperature_constant(128), 3)
        2.134

    Source: derived here from the random-energy model of arXiv 2602.03685, whose powers of β it has.
    """
    n = checks.whole("classes", classes, 2)
    density = quad(lambda z: np.exp(2 * norm.logpdf(z) + (n - 2) * norm.logcdf(z)), -12, 12, limit=400)[0]
    return float(np.pi**2 / 12 * n * (n - 1) * density)


@with_own_switches
def inverse_temperature_flow(
    time: ArrayLike, teacher_beta: float, *, classes: int = 128, samples: int = 2048, seed: int = 0
) -> Flow:
    """Gradient flow of the inverse temperature from β = 0: ``dβ/dτ = U(β) - U(β*)``.

    Between freezing and the teacher, ``√(2 ln classes) < β < β*``, ``dβ/dτ = K/β²``, so ``β = (3Kτ)^(1/3)`` and
    ``L = K/β ~ τ^(-1/3)``. Near the teacher the loss decays exponentially. Computed as ``τ = ∫ dβ / (U(β) - U(β*))``.

    A student that keeps to its teacher's direction and learns by gradient descent with rate η goes through this flow
    at ``τ = η·updates/classes``: the squared norm of its weights is ``classes·β²``.

    Args:
        time: (rows,) increasing, above 0.
        teacher_beta: β*.
        classes: of the landscape.
        samples: landscapes to average over.
        seed: of the random numbers.

    Returns:
        `Flow`, float32.

    Raises:
        ValueError: times that do not increase or are not positive, or what `landscape` refuses.

    Example:
        >>> flow = inverse_temperature_flow([1e4, 8e4], 1e4, classes=16)
        >>> round(float(flow.beta[1] / flow.beta[0]), 1)
        2.0

    Source: arXiv 2602.03685; the constants are derived here.
    """
    time = checks.increasing("time", time, 0.0, above=True)
    teacher_beta = checks.number("teacher_beta", teacher_beta, 0.0, above=True)
    time = jnp.asarray(time, jnp.float32)
    return Flow(time, *_flow(time, jnp.float32(teacher_beta), *_energies(classes, samples, seed)))


def _energies(classes: int, samples: int, seed: int):
    """Energies above the lowest, (samples, classes); the lowest, (samples,); and weights that sum to 1.

    From the lowest up, by their conditional distributions: ``Φ(-lowest) = u^(1/n)``, the next one's given it, and the
    rest evenly above that.
    """
    n, number = checks.whole("classes", classes, 2), checks.whole("samples", samples)
    rng = np.random.default_rng(checks.whole("seed", seed, 0))
    # The two that matter at low temperature from a lattice, which covers the square more evenly than draws do.
    place = np.arange(number) + 0.5
    gap, highest = place / number, (place * (np.sqrt(5) - 1) / 2 + rng.random()) % 1.0
    log_top = np.log(highest) / n
    log_second = log_top + np.log1p(-(gap**_CROWDING)) / (n - 1)
    rest = np.exp(log_second)[:, None] * rng.random((number, n - 2))
    lowest, second, rest = -ndtri(np.exp(log_top)), -ndtri(np.exp(log_second)), -ndtri(rest)
    above = np.concatenate([np.zeros((number, 1)), (second - lowest)[:, None], rest - lowest[:, None]], axis=1)
    weights = gap ** (_CROWDING - 1)
    return tuple(jnp.asarray(values, jnp.float32) for values in (above, lowest, weights / weights.sum()))


@jax.jit
def _at(beta, teacher_beta, above, lowest, weights):
    """Free energy, internal energy, loss and its gradient, each (betas,)."""
    log_p = jax.nn.log_softmax(-teacher_beta * above)
    p, floor = jnp.exp(log_p), weights @ lowest

    def one(beta):
        log_q = jax.nn.log_softmax(-beta * above)
        q = jnp.exp(log_q)
        free = floor - weights @ jax.nn.logsumexp(-beta * above, axis=-1) / beta
        apart = log_p - log_q
        # q - p without cancellation where the student is close to its teacher.
        more = jnp.where(jnp.abs(apart) < 1, p * jnp.expm1(-jnp.clip(apart, -1, 1)), q - p)
        return (
            free,
            floor + weights @ jnp.sum(q * above, axis=-1),
            weights @ divergence(log_p, log_q),
            weights @ jnp.sum(more * above, axis=-1),
        )

    return jax.lax.map(one, beta)


@jax.jit
def _flow(time, teacher_beta, above, lowest, weights):
    """β and loss at each time."""
    # β = β* (1 - e^-s): even in ln s from far below the freezing point, so that both ends are resolved.
    s = jnp.geomspace(1e-3 / jnp.maximum(teacher_beta, 1.0), _LAST, _POINTS)
    left = teacher_beta * jnp.exp(-s)
    beta = -teacher_beta * jnp.expm1(-s)
    _, _, loss, gradient = _at(beta, teacher_beta, above, lowest, weights)
    passed = left * s / gradient  # dτ / d ln s
    width = jnp.log(s[1] / s[0])
    tau = passed[0] + jnp.concatenate([jnp.zeros(1), jnp.cumsum((passed[1:] + passed[:-1]) / 2)]) * width
    log_s = jnp.interp(jnp.log(time), jnp.log(tau), jnp.log(s))
    before = time < tau[0]
    log_s = jnp.where(before, jnp.log(s[0]) + jnp.log(time / tau[0]), log_s)
    # Past the last point, where the gradient is proportional to what is left.
    further = jnp.exp(-gradient[-1] / left[-1] * jnp.maximum(time - tau[-1], 0.0))
    found = jnp.where(time > tau[-1], teacher_beta - left[-1] * further, -teacher_beta * jnp.expm1(-jnp.exp(log_s)))
    return found, jnp.exp(jnp.interp(log_s, jnp.log(s), jnp.log(loss))) * jnp.square(further)
