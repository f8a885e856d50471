"""Losses of one checkpoint, computed a few batches ahead of where they are written."""

import collections
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .batches import BatchReader, Tokens
from .jax_losses import Evaluator

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


class Column:
    """Losses of one checkpoint, computed a few batches ahead while it is iterated; then `summary`.

    Args:
        evaluator: computes them.
        params: of the model at the checkpoint.
        reader: the batches.
        advance: called with the tokens of each batch when they are done.
    """

    def __init__(
        self, evaluator: Evaluator, params: Any, reader: BatchReader, advance: Callable[[int], None] | None = None
    ) -> None:
        self._evaluator, self._params, self._reader = evaluator, params, reader
        self._advance = advance
        self._loss, self._measured, self._tokens, self._logits = 0.0, 0, 0, None

    def __iter__(self) -> Iterator[np.ndarray]:
        waiting: collections.deque[tuple[Any, Tokens]] = collections.deque()
        for tokens in self._reader:
            waiting.append((self._evaluator.submit(self._params, tokens), tokens))
            if len(waiting) > _AHEAD:
                yield self._fetch(*waiting.popleft())
        while waiting:
            yield self._fetch(*waiting.popleft())

    def summary(self) -> dict[str, float]:
        """Mean loss, and of the logits mean and spread."""
        found = {"mean_loss": self._loss / self._measured if self._measured else float("nan")}
        if self._logits is not None:
            mean, variance = self._logits / self._tokens
            found |= {"logit_mean": float(mean), "logit_spread": float(np.sqrt(variance))}
        return found

    def _fetch(self, pending: Any, tokens: Tokens) -> np.ndarray:
        losses, logits = self._evaluator.fetch(pending)
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
