"""Losses of batches by a JAX function, computed ahead of where they are read."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..store import StoreError
from .batches import Tokens

#: What is computed of one batch: losses (sequences, positions), and the sums over its tokens of the logits' mean and
#: variance, if they are asked for.
Measured = tuple[np.ndarray, np.ndarray | None]


class Evaluator(Protocol):
    """Computes the losses of batches; `submit` returns at once where the device allows, `fetch` waits."""

    def prepare(self, params: Any, tokens: Tokens) -> Any:
        """Check what will be computed, and hand on the parameters as `submit` wants them."""
        ...

    def submit(self, params: Any, tokens: Tokens) -> Any:
        """Begin a batch."""
        ...

    def fetch(self, pending: Any) -> Measured:
        """The result of `submit`."""
        ...


class JaxEvaluator:
    """Jits ``loss_fn(params, batch)``.

    Args:
        loss_fn: returns losses (sequences, positions) in nat; with ``logits`` also the logits (..., vocabulary).
        dtype: of the losses that come back.
        logits: whether the logits' mean and spread are wanted.
    """

    def __init__(self, loss_fn: Callable[[Any, Any], Any], dtype: np.dtype, logits: bool) -> None:
        if not callable(loss_fn):
            raise TypeError(f"loss_fn: got {type(loss_fn).__name__}, expected a function (params, batch) -> losses")
        self._loss_fn, self._logits = loss_fn, logits
        self._small = dtype == np.float16

    def prepare(self, params: Any, tokens: Tokens) -> Any:
        """Parameters on the device, after a look at what the function returns for one batch.

        Raises:
            StoreError: the shape or dtype of the losses is wrong.
        """
        found: Any = jax.eval_shape(self._loss_fn, params, tokens.batch)
        pair = isinstance(found, tuple) and len(found) == 2
        if self._logits != pair:
            wanted = "(losses, logits), as logits are asked for" if self._logits else "losses alone"
            raise StoreError(f"loss_fn: returned {_shapes(found)}, expected {wanted}")
        losses: Any = found[0] if pair else found
        logits: Any = found[1] if pair else None
        shape = getattr(losses, "shape", None)
        if shape != tokens.shape or not jnp.issubdtype(losses.dtype, jnp.floating):
            raise StoreError(
                f"loss_fn: returned losses {_shapes(losses)}, expected floating-point numbers of shape {tokens.shape}, "
                f"(sequences, positions), one loss for each token of batch['token_id']. {_cure(shape, tokens.shape)}"
            )
        if logits is not None and logits.shape[:-1] != tokens.shape:
            expected = f"{tokens.shape} and the vocabulary"
            raise StoreError(f"loss_fn: returned logits {_shapes(logits)}, expected shape {expected}")
        return jax.device_put(params)

    def submit(self, params: Any, tokens: Tokens) -> Any:
        """Begin a batch."""
        return _measure(self._loss_fn, self._small, self._logits, params, tokens.batch, tokens.mask)

    def fetch(self, pending: Any) -> Measured:
        """Losses, and sums of the logits' mean and variance."""
        losses, sums = pending
        return np.asarray(losses), None if sums is None else np.asarray(sums, np.float64)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _measure(
    loss_fn: Callable[[Any, Any], Any],
    small: bool,
    logits: bool,
    params: Any,
    batch: Mapping[str, Any],
    mask: jax.Array,
) -> tuple[jax.Array, jax.Array | None]:
    """Losses, as float16 where they are stored so, which halves what is copied; and sums of the logits' moments."""
    found = loss_fn(params, batch)
    losses, values = found if logits else (found, None)
    return losses.astype(jnp.float16) if small else losses, None if values is None else logit_sums(values, mask)


def logit_sums(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Sums over tokens of the mean and of the variance of each one's logits, (2,)."""
    values = logits.astype(jnp.float32)
    parts = jnp.stack([jnp.mean(values, -1), jnp.var(values, -1)])
    return jnp.sum(jnp.where(mask, parts, 0), axis=(1, 2))


def _shapes(found: Any) -> str:
    parts = found if isinstance(found, tuple | list) else [found]
    said = [f"{part.dtype}{list(part.shape)}" if hasattr(part, "shape") else type(part).__name__ for part in parts]
    return said[0] if len(said) == 1 else f"({', '.join(said)})"


def _cure(shape: Any, wanted: tuple[int, int]) -> str:
    if shape == ():
        return "Return every token's loss, not their mean."
    if shape == (wanted[0], wanted[1] - 1):
        return "A model that predicts the next token has no loss for the first: give token_id without it."
    return "Return one loss a token, without summing, and padded tokens too: the mask leaves them out."
