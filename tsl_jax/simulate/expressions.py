"""Random expressions of modular arithmetic and their values, as JAX functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..jax_switches import with_own_switches
from ..pytrees import pytree
from . import checks
from .mano import OPERATIONS, Mano, length_probabilities


@pytree
class Expressions:
    """Expressions and their answers.

    Attributes:
        tokens: (sequences, context) token ids.
        answer: (sequences,) value of the expression, which is also its token.
        answer_position: (sequences,) 0-based place of the answer in the sequence.
        length: (sequences,) L, the number of operations.
    """

    tokens: Int[Array, "sequences context"]
    answer: Int[Array, " sequences"]
    answer_position: Int[Array, " sequences"]
    length: Int[Array, " sequences"]


@with_own_switches
def mano_expressions(task: Mano, number: int, *, seed: int = 0, split: str = "training") -> Expressions:
    """Random expressions; those of the two splits never share random numbers.

    Args:
        task: `Mano`.
        number: of sequences.
        seed: of the random numbers.
        split: ``"training"`` or ``"validation"``.

    Returns:
        `Expressions`. Short ones recur: of length 1 there are 3·modulus² in all.

    Raises:
        ValueError: a count below 1, or another split.

    Example:
        >>> made = mano_expressions(Mano(lengths=(2, 2)), 3, split="validation")
        >>> made.tokens.shape, made.answer_position.tolist()
        ((3, 8), [7, 7, 7])
    """
    checks.whole("number", number)
    key = split_key(seed, split)
    return draw_expressions(key, task, number)


def split_key(seed: int, split: str) -> Array:
    """Key of a split: different for every seed and split."""
    checks.choice("split", split, ("training", "validation"))
    return jax.random.fold_in(jax.random.key(checks.whole("seed", seed, 0)), int(split == "validation"))


@functools.partial(jax.jit, static_argnames=("task", "number"))
def draw_expressions(key: Array, task: Mano, number: int) -> Expressions:
    """`mano_expressions` for a key, as a JAX function."""
    return jax.vmap(lambda key: _expression(key, task))(jax.random.split(key, number))


def mano_batches(task: Mano, number: int, batch: int, *, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Validation expressions in batches as `tsl_jax.collect` takes them: one token a sequence, the answer.

    Args:
        task: `Mano`.
        number: of sequences in all, a multiple of the batch.
        batch: sequences at once.
        seed: of the random numbers.

    Returns:
        Batches: ``tokens`` (batch, context) is what the model reads; ``token_id`` and ``position`` (batch, 1) those of
        the answer; ``domain`` (batch,) the length L.

    Raises:
        ValueError: a count below 1, or a number that the batch does not divide.

    Example:
        >>> batches = mano_batches(Mano(), 64, 32)
        >>> len(batches), batches[0]["token_id"].shape
        (2, (32, 1))
    """
    checks.whole("batch", batch)
    if checks.whole("number", number) % batch:
        raise ValueError(f"number: got {number}, expected a multiple of the batch, {batch}")
    made = jax.tree.map(np.asarray, mano_expressions(task, number, seed=seed, split="validation"))
    return [
        {
            "tokens": made.tokens[rows],
            "token_id": made.answer[rows, None],
            "position": made.answer_position[rows, None],
            "domain": made.length[rows],
        }
        for rows in (slice(first, first + batch) for first in range(0, number, batch))
    ]


def _expression(key, task: Mano) -> Expressions:
    keys = jax.random.split(key, 4)
    longest = 2 * task.lengths[1] + 1
    place = jnp.arange(longest)
    length = task.lengths[0] + jax.random.choice(
        keys[0], task.lengths[1] - task.lengths[0] + 1, p=jnp.asarray(length_probabilities(task), jnp.float32)
    )
    inside = place < 2 * length + 1
    # Operations (+1) and numbers (-1) in random order, one number more; one rotation of each order is an expression,
    # the one that begins after the first minimum of the running sum (cycle lemma), so that all trees are as likely.
    order = jnp.argsort(jnp.where(inside, jax.random.uniform(keys[1], (longest,)), jnp.inf))
    is_operation = order < length
    running = jnp.where(inside, jnp.cumsum(jnp.where(is_operation, 1, -1)), longest)
    begin = jnp.argmin(running) + 1
    is_operation = is_operation[(place + begin) % (2 * length + 1)]
    operation = task.plus + jax.random.randint(keys[2], (longest,), 0, OPERATIONS)
    number = jax.random.randint(keys[3], (longest,), 0, task.modulus)
    written = jnp.where(inside, jnp.where(is_operation, operation, number), task.padding)
    answer = _value(written, task)
    tokens = jnp.full(task.context, task.padding).at[0].set(task.start).at[1 : longest + 1].set(written)
    end = 2 * length + 2
    tokens = tokens.at[end].set(task.equals).at[end + 1].set(answer)
    return Expressions(tokens, answer, end + 1, length)


def _value(written, task: Mano):
    """Value of a prefix expression, from its end to its beginning with a stack."""

    def read(state, token):
        stack, height = state
        left, right = stack[height - 1], stack[height - 2]
        results = jnp.stack([left + right, left - right, left * right]) % task.modulus
        is_number = token < task.modulus
        value = jnp.where(is_number, token, results[jnp.clip(token - task.plus, 0, OPERATIONS - 1)])
        place = jnp.where(is_number, height, height - 2)
        counts = token != task.padding
        stack = jnp.where(counts, stack.at[place].set(value), stack)
        return (stack, jnp.where(counts, place + 1, height)), None

    empty = jnp.zeros(task.lengths[1] + 2, written.dtype), jnp.zeros((), jnp.int32)
    (stack, _), _ = jax.lax.scan(read, empty, written[::-1])
    return stack[0]
