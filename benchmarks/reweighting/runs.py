"""Byte-level transformers trained on rows of text, one after another or side by side."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from tsl_jax.simulate import Transformer, init_transformer, transformer_states

BYTES = 256


@dataclasses.dataclass(frozen=True)
class Training:
    """What all runs share: AdamW at a constant rate after a linear warm-up, gradients clipped to norm 1.

    Attributes:
        size: of the transformer.
        batch: sequences a step.
        warmup: steps of it.
        rate: learning rate after it.
    """

    size: Transformer
    batch: int
    warmup: int
    rate: float

    @property
    def rule(self) -> optax.GradientTransformation:
        """The optimizer."""
        rate = optax.linear_schedule(self.rate / self.warmup, self.rate, self.warmup - 1)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.01))


def begin(seed: int, training: Training):
    """Parameters and the optimizer's state, and the key that sequences are drawn with."""
    params, draws = begin_params(seed, training.size)
    return (params, training.rule.init(params)), draws


def begin_params(seed: int, size: Transformer):
    """Parameters, and the key that sequences are drawn with."""
    first, draws = jax.random.split(jax.random.key(seed))
    return init_transformer(first, size, BYTES), draws


def losses(params, before, target, size: Transformer):
    """(sequences, positions) losses of bytes, nat, each given those before it in its row."""
    logits = transformer_states(params, before.astype(jnp.int32), size) @ params["output"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), target.astype(jnp.int32)[..., None], -1)[..., 0]


@functools.partial(jax.jit, static_argnames="training")
def advance(state, key, chances, first, last, text, training: Training):
    """The state after the steps from ``first`` to ``last``, on sequences drawn with replacement.

    Args:
        state: of `begin`.
        key: of the draws; the same step draws the same random numbers.
        chances: (sequences,) cumulated probabilities of the rows of ``text``.
        first: updates done.
        last: updates to be done then.
        text: (sequences, context + 1) bytes.
        training: `Training`.
    """

    def drawn(count):
        found = jnp.searchsorted(chances, jax.random.uniform(jax.random.fold_in(key, count), (training.batch,)))
        return text[jnp.minimum(found, len(text) - 1)]

    return _updated(state, drawn, first, last, training)


@functools.partial(jax.jit, static_argnames="training")
def follow(state, order, first, last, text, training: Training):
    """The state after the steps from ``first`` to ``last``, on sequences in a given order.

    Args:
        state: of `begin`.
        order: (draws,) rows of ``text``, ``training.batch`` of them a step, from step 0 on.
        first: updates done.
        last: updates to be done then.
        text: (sequences, context + 1) bytes.
        training: `Training`.
    """

    def drawn(count):
        return text[jax.lax.dynamic_slice(order, (count * training.batch,), (training.batch,))]

    return _updated(state, drawn, first, last, training)


def _updated(state, drawn: Callable, first, last, training: Training):
    """The state after the steps from ``first`` to ``last``, on the rows that ``drawn`` gives for each."""
    rule = training.rule

    def objective(params, rows):
        return jnp.mean(losses(params, rows[:, :-1], rows[:, 1:], training.size))

    def step(count, state):
        params, memory = state
        update, memory = rule.update(jax.grad(objective)(params, drawn(count)), memory, params)
        return optax.apply_updates(params, update), memory

    return jax.lax.fori_loop(first, last, step, state)


@functools.partial(jax.jit, static_argnames=("size", "parts"))
def mean_losses(params, text, size: Transformer, parts: int):
    """(parts,) mean losses of equally many rows of a text each, nat."""
    return jnp.mean(token_losses(params, text, size).reshape(parts, -1), axis=1)


@functools.partial(jax.jit, static_argnames="size")
def token_losses(params, text, size: Transformer):
    """(sequences, positions) losses of a text's bytes, nat; on a CPU by a few rows, which a core's cache holds."""

    def of_row(row):
        return losses(params, row[None, :-1], row[None, 1:], size)[0]

    return jax.lax.map(of_row, text, batch_size=256 if side_by_side() else 8)


def side_by_side() -> bool:
    """Whether one program over all runs is faster than one after another: not on a CPU."""
    return jax.default_backend() != "cpu"


def for_each(function: Callable, together: bool) -> Callable:
    """A function of one run as a function of arrays stacked over runs: side by side, or one after another."""
    if together:
        return jax.vmap(function)

    def one_by_one(*stacked):
        number = len(jax.tree.leaves(stacked)[0])
        found = [function(*jax.tree.map(lambda values, k=k: values[k], stacked)) for k in range(number)]
        return stack(found)

    return one_by_one


def stack(trees: list):
    """Arrays of several runs, stacked along a first axis."""
    return jax.tree.map(lambda *values: jnp.stack(values), *trees)
