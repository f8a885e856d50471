"""Training a transformer on modular arithmetic, handing on its parameters at chosen steps."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from . import checks
from .expressions import draw_expressions, split_key
from .mano import Mano
from .transformer import Params, Transformer, init_transformer, transformer_states


@dataclasses.dataclass(frozen=True)
class ManoTraining:
    """How a transformer is trained: AdamW after a linear warm-up, gradients clipped to norm 1.

    Args:
        batch: fresh expressions of every step.
        learning_rate: after the warm-up.
        warmup: steps of it; 0 for none.
        decay_steps: steps after which a cosine has taken the rate to a tenth; 0 for a constant rate.
        weight_decay: of AdamW.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> schedule = ManoTraining(learning_rate=1e-3, warmup=100).schedule
        >>> [round(float(schedule(count)), 5) for count in (0, 50, 100, 5000)]
        [1e-05, 0.00051, 0.001, 0.001]
    """

    batch: int = 256
    learning_rate: float = 1e-3
    warmup: int = 100
    decay_steps: int = 0
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        checks.whole("batch", self.batch)
        checks.number("learning_rate", self.learning_rate, 0.0, above=True)
        checks.whole("warmup", self.warmup, 0)
        checks.whole("decay_steps", self.decay_steps, 0)
        checks.number("weight_decay", self.weight_decay, 0.0)
        if 0 < self.decay_steps <= self.warmup:
            raise ValueError(f"decay_steps: got {self.decay_steps}, expected more than the warm-up, {self.warmup}")

    @property
    def schedule(self) -> Callable:
        """Count of updates (from 0) to learning rate, as optax's schedules."""
        held = optax.constant_schedule(self.learning_rate)
        if self.decay_steps:
            held = optax.cosine_decay_schedule(self.learning_rate, self.decay_steps - self.warmup, 0.1)
        if not self.warmup:
            return held
        # The first update runs at a rate above 0.
        first = self.learning_rate / self.warmup
        return optax.join_schedules(
            [optax.linear_schedule(first, self.learning_rate, self.warmup - 1 or 1), held], [self.warmup]
        )


def mano_loss(params: Params, batch: Mapping[str, Any], size: Transformer) -> Float[Array, "sequences 1"]:
    """Loss of the answer tokens, ``-ln p(answer)``: with `size` given, a loss function for `tsl_jax.collect`.

    Args:
        params: of `init_transformer`.
        batch: one of `mano_batches`: ``tokens`` (sequences, context), ``token_id`` and ``position`` (sequences, 1).
        size: `Transformer`.

    Returns:
        (sequences, 1) losses, nat.

    Example:
        >>> from tsl_jax.simulate import Mano, init_transformer, mano_batches
        >>> task, size = Mano(lengths=(1, 2)), Transformer(1, 2, 16)
        >>> params = init_transformer(jax.random.key(0), size, task.vocabulary)
        >>> loss = mano_loss(params, mano_batches(task, 4, 4)[0], size)
        >>> loss.shape, f"{loss[0, 0]:.3f}", f"{jnp.log(task.vocabulary):.3f}"
        ((4, 1), '3.367', '3.367')
    """
    states = transformer_states(params, jnp.asarray(batch["tokens"]), size)
    # The state before the answer says it.
    before = jnp.take_along_axis(states, jnp.asarray(batch["position"])[..., None] - 1, axis=1)
    logits = jax.nn.log_softmax(before @ params["output"])
    return -jnp.take_along_axis(logits, jnp.asarray(batch["token_id"])[..., None], axis=-1)[..., 0]


@with_own_switches
def train_mano(
    record: ArrayLike,
    task: Mano | None = None,
    size: Transformer | None = None,
    *,
    training: ManoTraining | None = None,
    seed: int = 0,
) -> Iterator[tuple[int, Params]]:
    """Train a transformer to say the answers, and hand on its parameters at chosen steps.

    The loss is that of the answer token alone. Every step sees fresh expressions of the training split, made on the
    device. Only the parameters handed on last are kept here.

    Args:
        record: (checkpoints,) steps, increasing; 0 is before training. The last one ends it.
        task: `Mano`.
        size: `Transformer`; see `TRANSFORMERS`.
        training: `ManoTraining`.
        seed: of parameters and expressions.

    Returns:
        An iterator over ``(step, params)``, as `tsl_jax.collect` takes it.

    Raises:
        ValueError: steps that do not increase, or a negative seed.

    Example:
        >>> run = train_mano([0, 2], Mano(5, (1, 1)), Transformer(1, 1, 8), training=ManoTraining(batch=4))
        >>> [step for step, params in run]
        [0, 2]

    Source: arXiv 2606.29858.
    """
    steps = checks.increasing_steps("record", record)
    checks.whole("seed", seed, 0)
    run = Mano() if task is None else task, size or Transformer(), training or ManoTraining()
    return _checkpoints(steps, run, seed)


def _checkpoints(steps, run, seed: int) -> Iterator[tuple[int, Params]]:
    task, size, training = run
    # Parameters have a key that no expression has.
    params = init_transformer(jax.random.fold_in(jax.random.key(seed), 2), size, task.vocabulary)
    state = params, _rule(training).init(params)
    done, key = 0, split_key(seed, "training")
    for step in steps.tolist():
        state = _advance(state, done, step, key, run)
        done = step
        yield step, state[0]


def _rule(training: ManoTraining) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(training.schedule, weight_decay=training.weight_decay)
    )


@functools.partial(jax.jit, static_argnames="run")
def _advance(state, first, last, key, run: tuple[Mano, Transformer, ManoTraining]):
    """Parameters and optimizer state after the steps from first to last."""
    task, size, training = run
    rule = _rule(training)

    def objective(params, made):
        batch = {
            "tokens": made.tokens,
            "token_id": made.answer[:, None],
            "position": made.answer_position[:, None],
        }
        return jnp.mean(mano_loss(params, batch, size))

    def step(count, state):
        params, memory = state
        made = draw_expressions(jax.random.fold_in(key, count), task, training.batch)
        update, memory = rule.update(jax.grad(objective)(params, made), memory, params)
        return optax.apply_updates(params, update), memory

    return jax.lax.fori_loop(first, last, step, state)
