"""Losses of tokens out of hidden states, without the logits of more than a block of them in memory."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arguments import is_traced, kind_of, whole_number

_BLOCK_BYTES = 2**28


def token_nll(hidden: Any, head: Any, ids: Any, *, block_bytes: int = _BLOCK_BYTES) -> Any:
    """The loss of each token: minus the log-probability that a model's head gives it.

        ``nll = logsumexp(head · hidden) - (head · hidden)[id]``

    in float32 whatever the dtype of the arrays, a block of tokens at a time: with a vocabulary of 256,000 the logits of
    8 rows of 4,096 tokens are 33 GB, of a block 256 MiB. For measuring, not for training: no gradient is kept in
    PyTorch.

    Args:
        hidden: (..., width) last hidden states, in JAX, NumPy or PyTorch.
        head: (vocabulary, width) output embedding, as ``lm_head.weight``; or a function from hidden states
            (tokens, width) to logits (tokens, vocabulary), for heads with a bias, a scale or a cap. Weights that lie in
            parts in several processes (FSDP2, tensor parallelism: `DTensor`) are gathered, so all processes call this.
        ids: (...) tokens whose losses are wanted, those that the hidden states predict; below 0 (such as -100): NaN.
        block_bytes: float32 logits in memory at a time.

    Returns:
        (...) losses in nat, float32, on the device of ``hidden``.

    Raises:
        ValueError: shapes do not fit, or an id is beyond the vocabulary.
        TypeError: ids are no whole numbers, or arrays are of two frameworks.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> hidden, head = rng.normal(size=(2, 3, 4)), rng.normal(size=(10, 4))
        >>> losses = token_nll(hidden, head, np.array([[1, 2, 3], [9, 0, -100]]))
        >>> losses.shape, round(float(losses[0, 0]), 4), bool(np.isnan(losses[1, 2]))
        ((2, 3), 3.4194, True)
    """
    block_bytes = whole_number("block_bytes", block_bytes)
    _check(hidden, head, ids)
    if _is_torch(hidden):
        from .torch_losses import nll

        return nll(hidden, head, ids, block_bytes)
    ids = jnp.asarray(ids)
    flat = jnp.asarray(hidden).reshape(-1, hidden.shape[-1])
    if not hasattr(head, "shape"):
        vocabulary = jax.eval_shape(head, flat[:1]).shape[-1]
        found = _in_blocks(head, flat, ids.reshape(-1), max(1, block_bytes // (4 * vocabulary)))
    else:
        vocabulary = head.shape[0]
        found = _of_weights(flat, jnp.asarray(head), ids.reshape(-1), max(1, block_bytes // (4 * vocabulary)))
    if not is_traced(ids):
        refuse_unknown(ids, vocabulary)
    return found.reshape(ids.shape)


@functools.partial(jax.jit, static_argnums=3)
def _of_weights(hidden: jax.Array, weights: jax.Array, ids: jax.Array, rows: int) -> jax.Array:
    def logits(block: jax.Array) -> jax.Array:
        exact = {"precision": jax.lax.Precision.HIGHEST, "preferred_element_type": jnp.float32}
        return jnp.einsum("tw,vw->tv", block, weights, **exact)

    return _in_blocks(logits, hidden, ids, rows)


def _in_blocks(logits: Callable[[jax.Array], jax.Array], hidden: jax.Array, ids: jax.Array, rows: int) -> jax.Array:
    rows = max(1, min(rows, len(ids)))
    blocks = -(-len(ids) // rows)
    padding = blocks * rows - len(ids)
    states = jnp.pad(hidden, ((0, padding), (0, 0))).reshape(blocks, rows, hidden.shape[-1])
    targets = jnp.pad(ids, (0, padding)).reshape(blocks, rows)

    def losses(block: tuple[jax.Array, jax.Array]) -> jax.Array:
        values = logits(block[0]).astype(jnp.float32)
        known = (block[1] >= 0) & (block[1] < values.shape[-1])
        chosen = jnp.take_along_axis(values, jnp.where(known, block[1], 0)[:, None], -1)[:, 0]
        return jnp.where(known, jax.scipy.special.logsumexp(values, -1) - chosen, jnp.nan)

    return jax.lax.map(losses, (states, targets)).reshape(-1)[: len(ids)]


def refuse_unknown(ids: Any, vocabulary: int) -> None:
    """Raise if an id is beyond the vocabulary.

    Raises:
        ValueError: the largest.
    """
    largest = int(ids.max()) if 0 not in ids.shape else -1
    if largest >= vocabulary:
        raise ValueError(
            f"ids: got {largest}, expected ids below {vocabulary}, the rows of head; give the tokenizer of this model"
        )


def _check(hidden: Any, head: Any, ids: Any) -> None:
    kinds = {"PyTorch" if _is_torch(value) else "JAX or NumPy" for value in (hidden, ids)}
    kinds |= set() if callable(head) else {"PyTorch" if _is_torch(head) else "JAX or NumPy"}
    if len(kinds) > 1:
        raise TypeError("hidden, head, ids: got arrays of PyTorch and of another framework, expected one framework")
    if not hasattr(hidden, "shape") or not hasattr(ids, "shape") or not (callable(head) or hasattr(head, "shape")):
        came = ", ".join(type(value).__name__ for value in (hidden, head, ids))
        raise TypeError(f"hidden, head, ids: got {came}, expected arrays")
    if tuple(hidden.shape[:-1]) != tuple(ids.shape):
        raise ValueError(
            f"ids: got shape {tuple(ids.shape)}, expected {tuple(hidden.shape[:-1])}, one for each hidden state; the "
            "states of positions 0 to n-2 predict the tokens 1 to n-1: hidden[:, :-1] and ids[:, 1:]"
        )
    if not callable(head) and (len(head.shape) != 2 or head.shape[1] != hidden.shape[-1]):
        turned = len(head.shape) == 2 and head.shape[0] == hidden.shape[-1]
        raise ValueError(
            f"head: got shape {tuple(head.shape)}, expected (vocabulary, {hidden.shape[-1]})"
            + (", as an embedding; pass head.T" if turned else "")
        )
    kind = "i" if "int" in str(ids.dtype) else kind_of(np.asarray(ids).dtype) if not _is_torch(ids) else "f"
    if kind not in "iu":
        raise TypeError(f"ids: got dtype {ids.dtype}, expected whole numbers")


def _is_torch(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and not callable(value)
