"""Losses of one checkpoint, computed a few batches ahead of where they are written."""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .batches import Tokens
from .jax_losses import Evaluator, Measured

#: Batches that are begun before the first is waited for.
_AHEAD = 2


class Count:
    """How many tokens are done, of all checkpoints.

    Args:
        advance: called with them and their total.
        total: of all checkpoints.
    """

    def __init__(self, advance: Callable[[int, int], None] | None = None, total: int = 0) -> None:
        self._advance, self._total, self._done = advance, total, 0

    def add(self, tokens: int) -> None:
        """Note that more are done."""
        self._done += tokens
        if self._advance is not None:
            self._advance(self._done, self._total)


def measured_here(evaluator: Evaluator, params: Any, batches: Iterable[Tokens]) -> Iterator[tuple[Tokens, Measured]]:
    """Each batch and its losses, in order; a few are begun ahead.

    Args:
        evaluator: computes them.
        params: of the model at the checkpoint, as the evaluator has prepared them.
        batches: of the validation data.
    """
    waiting: collections.deque[tuple[Tokens, Any]] = collections.deque()
    for tokens in batches:
        waiting.append((tokens, evaluator.submit(params, tokens)))
        if len(waiting) > _AHEAD:
            tokens, pending = waiting.popleft()
            yield tokens, evaluator.fetch(pending)
    for tokens, pending in waiting:
        yield tokens, evaluator.fetch(pending)


class Column:
    """Losses of one checkpoint, computed while it is iterated; then `summary`.

    Args:
        measured: each batch and its losses, in order.
        advance: called with the tokens of each batch when they are done.
    """

    def __init__(
        self, measured: Iterable[tuple[Tokens, Measured]], advance: Callable[[int], None] | None = None
    ) -> None:
        self._batches, self._advance = measured, advance
        self._loss, self._measured, self._tokens, self._logits = 0.0, 0, 0, None

    def __iter__(self) -> Iterator[np.ndarray]:
        for tokens, measured in self._batches:
            yield self._add(tokens, *measured)

    def summary(self) -> dict[str, float]:
        """Mean loss, and of the logits mean and spread."""
        found = {"mean_loss": self._loss / self._measured if self._measured else float("nan")}
        if self._logits is not None:
            mean, variance = self._logits / self._tokens
            found |= {"logit_mean": float(mean), "logit_spread": float(np.sqrt(variance))}
        return found

    def _add(self, tokens: Tokens, losses: np.ndarray, logits: np.ndarray | None) -> np.ndarray:
        flat = losses[tokens.mask]
        finite = np.isfinite(flat)
        self._loss += float(np.sum(flat, dtype=np.float64, where=finite))
        self._measured += int(np.sum(finite))
        self._tokens += len(flat)
        if logits is not None:
            self._logits = logits + (0.0 if self._logits is None else self._logits)
        if self._advance is not None:
            self._advance(len(flat))
        return flat
