"""The validation data: which of its tokens count, and what is recorded of each."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..store import StoreError

#: Arrays of a batch that are recorded as token coordinates, with the dtype they are stored in.
RECORDED = {
    "sequence": np.dtype(np.int64),
    "position": np.dtype(np.int32),
    "token_id": np.dtype(np.int32),
    "domain": np.dtype(np.int32),
    "token_frequency": np.dtype(np.int64),
}
MASK = "mask"

#: Batches that can be read again for each checkpoint.
Batches = Iterable[Mapping[str, Any]] | Callable[[], Iterable[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokens of one batch that count.

    Attributes:
        batch: what the loss function gets.
        shape: (sequences, positions) of its arrays.
        mask: (sequences, positions), whether a token counts.
        columns: (tokens,) coordinates by name of those that count, in rows' order.
    """

    batch: Mapping[str, Any]
    shape: tuple[int, int]
    mask: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["sequence"])


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is known of batches before a model sees them.

    Attributes:
        tokens: how many count.
        names: token coordinates.
        digests: (batches, 2) tokens and digest of each batch.
    """

    tokens: int
    names: tuple[str, ...]
    digests: np.ndarray

    @property
    def digest(self) -> str:
        """Of all of it."""
        return hashlib.blake2b(self.digests.astype("<i8").tobytes(), digest_size=16).hexdigest()


class BatchReader:
    """Batches, read again for each checkpoint.

    Raises:
        TypeError: they can be read once only.
    """

    def __init__(self, batches: Batches) -> None:
        if not callable(batches) and (isinstance(batches, Mapping) or iter(batches) is batches):
            raise TypeError(
                f"batches: got a {type(batches).__name__}, expected a list of batches, or a function without arguments "
                "that returns them anew: they are read once for each checkpoint"
            )
        self._batches = batches

    def __iter__(self) -> Iterator[Tokens]:
        """Each batch with the tokens of it that count.

        Raises:
            StoreError: an array is absent or has another shape.
        """
        sequences = 0
        for index, batch in enumerate(self._batches() if callable(self._batches) else self._batches):
            tokens = tokens_of(index, batch, sequences)
            sequences += tokens.shape[0]
            yield tokens

    def summary(self) -> Summary:
        """One pass over all batches.

        Raises:
            StoreError: there is no token, or batches record unlike things.
        """
        rows, names = [], None
        for index, tokens in enumerate(self):
            names = tuple(tokens.columns) if names is None else names
            if tuple(tokens.columns) != names:
                raise StoreError(
                    f"batches[{index}]: records {', '.join(tokens.columns)}, expected {', '.join(names)} as batch "
                    "0 does"
                )
            rows.append((len(tokens), _digest(tokens)))
        digests = np.array(rows, np.int64).reshape(-1, 2)
        total = int(digests[:, 0].sum())
        if names is None or not total:
            raise StoreError(
                f"batches: got {len(rows)} batches without a token that counts, expected at least one token; see "
                f"whether every {MASK!r} is False"
            )
        return Summary(total, names, digests)


def changed_batches(stored: np.ndarray, now: np.ndarray) -> list[str]:
    """Which batches are others than those of before, one sentence each."""
    found = [f"batches: were {len(stored)}, now {len(now)}"] if len(stored) != len(now) else []
    for index, (old, new) in enumerate(zip(stored, now, strict=False)):
        if old[0] != new[0]:
            found.append(f"batches[{index}]: had {old[0]} tokens, now {new[0]}")
        elif old[1] != new[1]:
            found.append(f"batches[{index}]: its arrays were others")
    return found[:5] + ([f"and {len(found) - 5} more batches"] if len(found) > 5 else [])


def tokens_of(index: int, batch: Any, sequences: int) -> Tokens:
    """The tokens of a batch that count.

    Args:
        index: of the batch, for messages.
        batch: arrays by name.
        sequences: how many were in the batches before: the number of its first, where it gives none.

    Raises:
        StoreError: an array is absent or has another shape. TypeError: the batch is no mapping.
    """
    if not isinstance(batch, Mapping):
        raise TypeError(
            f"batches[{index}]: got {type(batch).__name__}, expected a mapping of arrays by name with 'token_id', the "
            "tokens whose losses are measured, (sequences, positions)"
        )
    source = next((name for name in ("token_id", MASK, "position") if name in batch), None)
    if source is None:
        raise StoreError(
            f"batches[{index}]: has {', '.join(map(repr, batch)) or 'nothing'}, expected 'token_id', the tokens whose "
            f"losses are measured, (sequences, positions), or {MASK!r}"
        )
    shape = np.shape(batch[source])
    if len(shape) != 2:
        raise StoreError(f"batches[{index}][{source!r}]: got shape {shape}, expected (sequences, positions)")
    mask = _checked_mask(index, _as_shape(index, MASK, batch.get(MASK, True), shape))
    given = {name: batch[name] for name in RECORDED if name in batch}
    given.setdefault("sequence", sequences + np.arange(shape[0]))
    given.setdefault("position", np.broadcast_to(np.arange(shape[1]), shape))
    columns = {
        name: _as_shape(index, name, given[name], shape)[mask].astype(kind)
        for name, kind in RECORDED.items()
        if name in given
    }
    return Tokens(batch, shape, mask, columns)


def _checked_mask(index: int, mask: np.ndarray) -> np.ndarray:
    """Booleans; labels, where the tokens that do not count are -100 and token 0 is 0, are no mask."""
    other = mask[(mask != 0) & (mask != 1)]
    if other.size:
        raise StoreError(
            f"batches[{index}][{MASK!r}]: holds {other[0]}, expected 0 (does not count) and 1 (counts), or booleans; "
            f"of labels give {MASK}=(labels != -100)"
        )
    return mask.astype(bool)


def _as_shape(index: int, name: str, values: Any, shape: tuple[int, int]) -> np.ndarray:
    """An array of a batch, one value a token; one value a sequence is repeated."""
    values = np.asarray(values)
    if values.dtype.kind not in "iub":
        raise StoreError(f"batches[{index}][{name!r}]: got dtype {values.dtype}, expected whole numbers")
    if values.shape == shape[:1]:
        values = values[:, None]
    if values.shape not in ((), (shape[0], 1), shape):
        raise StoreError(f"batches[{index}][{name!r}]: got shape {values.shape}, expected {shape} or {shape[:1]}")
    return np.broadcast_to(values, shape)


def _digest(tokens: Tokens) -> int:
    """63 bits of everything that a batch holds."""
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(tokens.batch):
        values = np.ascontiguousarray(tokens.batch[name])
        total.update(f"{name} {values.dtype} {values.shape}".encode())
        total.update(values.tobytes() if values.dtype.kind != "O" else repr(values).encode())
    return int.from_bytes(total.digest(), "little") >> 1
