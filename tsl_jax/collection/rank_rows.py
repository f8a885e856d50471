"""The rows of one rank at one checkpoint: gathered batch by batch, put into one order, and told apart by a digest."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..store import StoreError
from .batches import tokens_of
from .host_arrays import to_numpy

#: What an order is checked by: everything that is recorded of a token.
Columns = Mapping[str, np.ndarray]


class CheckpointRows:
    """Batches of one checkpoint, as an evaluation loop comes to them.

    Args:
        numbered: whether each batch must say the numbers of its sequences.
    """

    def __init__(self, numbered: bool) -> None:
        self._numbered = numbered
        self._batches, self._sequences = 0, 0
        self._columns: list[Columns] = []
        self._losses: list[np.ndarray] = []

    def add(self, batch: Mapping[str, Any], losses: Any) -> None:
        """Take the losses of a batch.

        Args:
            batch: `token_id`, (sequences, positions), the tokens whose losses these are; `mask`, True where a token
                counts; `sequence`, (sequences,), their numbers in the whole validation set; `position`, `domain`,
                `token_frequency`; other arrays are passed over. Of NumPy, JAX or PyTorch.
            losses: (sequences, positions) in nat, NaN = not measured.

        Raises:
            StoreError: a shape or dtype is wrong, or the sequences have no numbers where there are several ranks.
        """
        index = self._batches
        if isinstance(batch, Mapping):
            batch = {name: to_numpy(batch[name]) for name in _KNOWN if name in batch}
        tokens = tokens_of(index, batch, self._sequences)
        if self._numbered and "sequence" not in batch:
            raise StoreError(
                f"batches[{index}]: has no 'sequence', expected the number of each of its sequences in the whole "
                "validation set, as several ranks share it; with a DistributedSampler without shuffling it is "
                "rank + ranks * numpy.arange(...)"
            )
        values = to_numpy(losses)
        if values.shape != tokens.shape or values.dtype.kind != "f":
            raise StoreError(
                f"losses: got {values.dtype} of shape {values.shape}, expected floating-point numbers of shape "
                f"{tokens.shape}, one for each token of batches[{index}]{_cure(values.shape, tokens.shape)}"
            )
        self._columns.append(tokens.columns)
        self._losses.append(values[tokens.mask])
        self._batches += 1
        self._sequences += tokens.shape[0]

    def rows(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Coordinates and losses of all rows, by sequence and position, each token once.

        Raises:
            StoreError: there is no row, batches record unlike things, or one place of a sequence has two tokens.
        """
        names = [sorted(columns) for columns in self._columns]
        if not names or not sum(map(len, self._losses)):
            raise StoreError("batches: none had a token that counts, expected at least one token on every rank")
        unlike = next((at for at, found in enumerate(names) if found != names[0]), None)
        if unlike is not None:
            raise StoreError(
                f"batches[{unlike}]: records {', '.join(names[unlike])}, expected {', '.join(names[0])} as batch 0 does"
            )
        columns = {name: np.concatenate([part[name] for part in self._columns]) for name in names[0]}
        losses = np.concatenate(self._losses)
        if columns["sequence"].min() < 0 or columns["position"].min() < 0:
            raise StoreError("batches: a sequence or position is negative, expected numbers from 0 on")
        order = np.lexsort((columns["position"], columns["sequence"]))
        columns, losses = {name: values[order] for name, values in columns.items()}, losses[order]
        again = _repeats(columns)
        return {name: values[~again] for name, values in columns.items()}, losses[~again]


def digest_of(columns: Columns) -> str:
    """Of everything that is recorded of a rank's tokens, in order."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(columns):
        total.update(f"{name} {columns[name].dtype} {columns[name].shape}".encode())
        total.update(columns[name].tobytes())
    return total.hexdigest()


def changed_tokens(before: Columns, now: Columns) -> list[str]:
    """How tokens differ from those of before, one sentence each."""
    if sorted(before) != sorted(now):
        return [f"recorded of tokens: was {', '.join(sorted(before))}, now {', '.join(sorted(now))}"]
    sizes = [len(columns["sequence"]) for columns in (before, now)]
    if sizes[0] != sizes[1]:
        return [f"tokens of this rank: were {sizes[0]:,}, now {sizes[1]:,}"]
    found = []
    for name in sorted(before):
        unlike = np.flatnonzero(before[name] != now[name])
        if unlike.size:
            at = int(unlike[0])
            found.append(
                f"{name}: of {len(unlike):,} tokens another, first of token {at} of this rank: was {before[name][at]}, "
                f"now {now[name][at]}"
            )
    return found


_KNOWN = ("token_id", "mask", "sequence", "position", "domain", "token_frequency")


def _repeats(columns: Columns) -> np.ndarray:
    """Rows whose place is that of the row before, as samplers repeat sequences to fill a batch."""
    same = np.ones(len(columns["sequence"]), bool)
    for name in ("sequence", "position"):
        same &= np.diff(columns[name], prepend=-1) == 0
    for name, values in columns.items():
        unlike = np.flatnonzero(same & (np.diff(values, prepend=values[:1]) != 0))
        if unlike.size:
            at = int(unlike[0])
            raise StoreError(
                f"batches: position {columns['position'][at]} of sequence {columns['sequence'][at]} comes twice, with "
                f"{name} {values[at - 1]} and {values[at]}; expected a number of its own for each sequence"
            )
    return same


def _cure(came: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if came == ():
        return ". Give every token's loss, not their mean: reduction='none'"
    if len(came) == 2 and came == (wanted[0], wanted[1] - 1):
        return ". A model that predicts the next token has no loss for the first: give token_id without it"
    if len(came) == 1 and came[0] == int(np.prod(wanted)):
        return ". Reshape them to it"
    return ""
