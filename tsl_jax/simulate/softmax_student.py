"""A softmax student that learns a peaked teacher: every temperature, learning rate and seed in one scan."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ..jax_switches import with_own_switches
from ..pytrees import pytree
from . import checks

#: Below this difference of log probabilities the terms of the divergence come from their series.
_CLOSE = 0.05
_TEACHER, _TRAINING, _EVALUATION = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class TeacherStudentOptions:
    """What all settings share.

    Args:
        width: of the inputs.
        classes: of teacher and student.
        batch: fresh inputs of every step.
        evaluation: inputs on which losses are measured, the same at every recorded step.
        optimizer: ``"adam"`` or ``"sgd"``, without weight decay.
        schedule: count of updates (from 0) to a factor of the learning rate, such as optax's schedules; a JAX
            function. By default constant.

    Raises:
        ValueError: a count below 1 (2 for classes), or another optimizer.

    Example:
        >>> TeacherStudentOptions(optimizer="sgd").classes
        128
    """

    width: int = 32
    classes: int = 128
    batch: int = 256
    evaluation: int = 2048
    optimizer: Literal["adam", "sgd"] = "adam"
    schedule: Callable | None = None

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("classes", 2), ("batch", 1), ("evaluation", 1)):
            checks.whole(name, getattr(self, name), least)
        checks.choice("optimizer", self.optimizer, ("adam", "sgd"))
        if self.schedule is not None and not callable(self.schedule):
            raise ValueError(f"schedule: got {self.schedule!r}, expected a function of the count of updates")


@pytree
class TeacherStudent:
    """Training of students, one for each setting and seed.

    Attributes:
        step: (rows,) updates done.
        lr_sum: (settings, rows) dynamic time, the sum of the learning rates.
        loss: (settings, seeds, rows) KL divergence of the student from the teacher, nat.
        logit_spread: (settings, seeds, rows) standard deviation over the classes of the student's logits, mean over
            inputs; the student's inverse temperature.
        temperature: (settings,) of the teachers.
        learning_rate: (settings,).
    """

    step: Int[np.ndarray, " rows"]
    lr_sum: Float[np.ndarray, "settings rows"]
    loss: Float[Array, "settings seeds rows"]
    logit_spread: Float[Array, "settings seeds rows"]
    temperature: Float[np.ndarray, " settings"]
    learning_rate: Float[np.ndarray, " settings"]


@with_own_switches
def teacher_student(
    temperature: ArrayLike,
    learning_rate: ArrayLike,
    record: ArrayLike,
    *,
    seeds: int = 1,
    seed: int = 0,
    options: TeacherStudentOptions | None = None,
) -> TeacherStudent:
    """Train softmax students on peaked teachers, all settings at once.

    A teacher says ``softmax(W*x / temperature)``, a student ``softmax(Wx)`` with W = 0 at first; x is Gaussian with
    root mean square 1, fresh in every step; W* is Gaussian with variance 1/width, so that the teacher's logits have
    standard deviation 1/temperature. The loss is the Kullback-Leibler divergence. All settings of a seed see the same
    inputs and the same W*, so that their differences are free of sampling noise.

    Args:
        temperature: (settings,) of the teachers, above 0; or one.
        learning_rate: (settings,) above 0; or one.
        record: (rows,) steps at which to measure, increasing; 0 is before training. The last one ends it.
        seeds: runs of each setting, with teachers and inputs of their own.
        seed: of the random numbers.
        options: `TeacherStudentOptions`.

    Returns:
        `TeacherStudent`, float32; NaN where training diverged.

    Raises:
        ValueError: temperatures or rates that are not positive or of different lengths, steps that do not increase,
            or a schedule that is negative or not finite.

    Example:
        >>> small = TeacherStudentOptions(width=4, classes=8, batch=16, evaluation=64, optimizer="sgd")
        >>> runs = teacher_student([0.1, 1.0], 1.0, [0, 10, 50], options=small)
        >>> runs.loss.shape, bool((runs.loss[..., -1] < runs.loss[..., 0]).all()), runs.lr_sum[0].tolist()
        ((2, 1, 3), True, [0.0, 10.0, 50.0])

    Source: arXiv 2602.03685, where W* is uniform with variance 1/(3·width): a temperature there is √3 times one here.
    """
    options = TeacherStudentOptions() if options is None else options
    temperature = checks.positive_numbers("temperature", temperature)
    rate = checks.positive_numbers("learning_rate", learning_rate)
    if len(temperature) != len(rate) and 1 not in (len(temperature), len(rate)):
        raise ValueError(
            f"temperature, learning_rate: got {len(temperature)} and {len(rate)} settings, expected as many of both, "
            "or one"
        )
    temperature, rate = np.broadcast_arrays(temperature, rate)
    step = checks.increasing_steps("record", record)
    if step[-1] >= 2**31:
        raise ValueError(f"record: ends at {step[-1]}, expected fewer than 2^31 steps")
    keys = jax.random.split(jax.random.key(checks.whole("seed", seed, 0)), checks.whole("seeds", seeds))
    sums = _factor_sums(options.schedule, int(step[-1]))[step]
    settings = jnp.asarray(temperature, jnp.float32), jnp.asarray(rate, jnp.float32)
    loss, logit_std = _train(keys, *settings, jnp.asarray(step, jnp.int32), options)
    return TeacherStudent(step, rate[:, None] * sums, loss, logit_std, temperature, rate)


def _factor_sums(schedule: Callable | None, updates: int) -> Float[np.ndarray, " updates_1"]:
    """Sums of the schedule's factors before each count, in float64."""
    if schedule is None:
        return np.arange(updates + 1, dtype=np.float64)
    factors = np.asarray(jax.vmap(lambda count: jnp.asarray(schedule(count), float))(jnp.arange(updates)), np.float64)
    bad = np.flatnonzero(~(np.isfinite(factors) & (factors >= 0)))
    if bad.size:
        raise ValueError(f"schedule: got {factors[bad[0]]} at count {bad[0]}, expected finite factors of 0 or above")
    return np.concatenate([[0.0], np.cumsum(factors)])


@functools.partial(jax.jit, static_argnames="options")
def _train(keys, temperature, rate, step, options: TeacherStudentOptions):
    """Losses and logit spreads, each (settings, seeds, rows)."""
    rule = {"adam": optax.scale_by_adam(), "sgd": optax.identity()}[options.optimizer]
    fold = jax.random.fold_in
    shape = options.width, options.classes
    teacher = jax.vmap(lambda key: jax.random.normal(fold(key, _TEACHER), shape) * options.width**-0.5)(keys)
    examined = jax.vmap(lambda key: _inputs(fold(key, _EVALUATION), options.evaluation, options.width))(keys)
    training = jax.vmap(lambda key: fold(key, _TRAINING))(keys)

    def one_setting(x, logits, factor, temperature, rate, carry):
        weights, state = carry
        target = jax.nn.softmax(logits / temperature)
        gradient = x.T @ (jax.nn.softmax(x @ weights) - target) / options.batch  # of the divergence
        update, state = rule.update(gradient, state)
        return weights - rate * factor * update, state

    # Inputs and the teacher's logits are made once for all settings.
    all_settings = jax.vmap(one_setting, in_axes=(None, None, None, 0, 0, 0))

    def one_seed(key, teacher, carry, count):
        x = _inputs(fold(key, count), options.batch, options.width)
        factor = 1.0 if options.schedule is None else options.schedule(count)
        return all_settings(x, x @ teacher, factor, temperature, rate, carry)

    def update(count, carry):
        return jax.vmap(one_seed, in_axes=(0, 0, 0, None))(training, teacher, carry, count)

    def row(carry, span):
        carry = jax.lax.fori_loop(span[0], span[1], update, carry)
        across = jax.vmap(_measured, in_axes=(None, None, 0, 0))
        return carry, jax.vmap(across, in_axes=(0, 0, None, 0))(examined, teacher, temperature, carry[0])

    weights = jnp.zeros((len(keys), len(temperature), *shape))
    start = weights, jax.vmap(jax.vmap(rule.init))(weights)
    _, measured = jax.lax.scan(row, start, (jnp.concatenate([jnp.zeros(1, step.dtype), step[:-1]]), step))
    return tuple(jnp.moveaxis(values, (2, 1, 0), (0, 1, 2)) for values in measured)


def _inputs(key, number: int, width: int) -> Float[Array, "number width"]:
    x = jax.random.normal(key, (number, width))
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True))


def _measured(x, teacher, temperature, weights):
    """Divergence of the student from the teacher and spread of its logits, means over inputs."""
    logits = x @ weights
    loss = divergence(jax.nn.log_softmax(x @ teacher / temperature), jax.nn.log_softmax(logits))
    return jnp.mean(loss), jnp.mean(jnp.std(logits, axis=-1))


def divergence(log_p: Float[Array, "*batch classes"], log_q: Float[Array, "*batch classes"]) -> Float[Array, " *batch"]:
    """``KL(p, q) = Σ p (ln p - ln q)`` in a form whose terms are none negative: ``Σ p (d - 1 + e^-d)``, d = ln p/q.

    So small divergences keep their digits, down to the square of the precision.

    Args:
        log_p: (..., classes) normalised log probabilities.
        log_q: (..., classes) likewise.

    Returns:
        (...) divergences, nat.
    """
    apart, p = log_p - log_q, jnp.exp(log_p)
    series = jnp.square(apart) * (0.5 - apart * (1 / 6 - apart * (1 / 24 - apart / 120)))
    near = jnp.abs(apart) < _CLOSE
    # A class without any probability may be infinitely far.
    far = jnp.where(p > 0, p * jnp.where(p > 0, apart, 0.0), 0.0) - p + jnp.exp(log_q)
    return jnp.sum(jnp.where(near, p * series, far), axis=-1)
