"""Losses of one checkpoint, computed a few batches ahead of where they are written."""

import collections
from collections.abc import Iterator
from typing import Any

import numpy as np

from .batches import BatchReader, Tokens
from .jax_losses import Evaluator

#: Batches that are begun before the first is waited for.
_AHEAD = 2


class Column:
    """Losses of one checkpoint, computed a few batches ahead while it is iterated; then `summary`."""

    def __init__(self, evaluator: Evaluator, params: Any, reader: BatchReader) -> None:
        self._evaluator, self._params, self._reader = evaluator, params, reader
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
        return flat
