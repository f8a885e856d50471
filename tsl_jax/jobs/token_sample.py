"""A sample of single tokens, spread evenly over a store of any size: their fits, coordinates and losses."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..curves import Family
from ..store import FitStore, LossStore, StoredFit
from ..store.samples import even_runs
from .predict import family_of, predict_stored

#: Tokens come from at most so many runs of at most so many rows: a store of any size costs a second.
_RUNS, _RUN_TOKENS = 32, 2048


@dataclasses.dataclass(frozen=True)
class SampledTokens:
    """Tokens by the rows of their store.

    Attributes:
        token: (tokens,) their rows, increasing.
        tokens: how many the store has.
        fits: theirs.
        coordinates: (tokens,) token coordinates by name.
        axis: (checkpoints used,) axis values.
        losses: (tokens, checkpoints used) measured, nat; None without losses.
        fitted: (tokens, checkpoints used) the curve or the constant that counts, nat.
    """

    token: np.ndarray
    tokens: int
    fits: StoredFit
    coordinates: dict[str, np.ndarray]
    axis: np.ndarray
    losses: np.ndarray | None
    fitted: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether these are all tokens of the store."""
        return len(self.token) == self.tokens


def sample_tokens(
    fits: FitStore, losses: LossStore | None = None, *, most: int = 1024, family: Family | None = None
) -> SampledTokens:
    """Take tokens out of runs spread evenly over a store, the same ones each time; all tokens of a small store.

    Args:
        fits: an open fit store.
        losses: its loss store.
        most: tokens at most.
        family: needed only for a family of your own.

    Raises:
        StoreError: the store's family is unknown and ``family`` was not given.
        ChunkError: a chunk is corrupted.
    """
    family = family or family_of(fits)
    used = np.setdiff1d(np.arange(fits.num_checkpoints), fits.left_out_checkpoints)
    picked = _picked(fits.num_tokens, most)
    parts, coordinates, measured = [], [], []
    for rows in picked:
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        span, within = slice(first, last), rows - first
        parts.append(fits.read(span)[within])
        coordinates.append({name: fits.read_coordinate(name, span)[within] for name in fits.token_coordinates})
        if losses is not None:
            measured.append(losses.read(span)[within][:, used].astype(np.float32))
    stored = _joined(parts)
    return SampledTokens(
        token=np.concatenate(picked),
        tokens=fits.num_tokens,
        fits=stored,
        coordinates={name: np.concatenate([part[name] for part in coordinates]) for name in fits.token_coordinates},
        axis=fits.axis()[used],
        losses=np.concatenate(measured) if measured else None,
        fitted=np.asarray(predict_stored(family, fits.axis()[used], stored, "counted")),
    )


def _picked(tokens: int, most: int) -> list[np.ndarray]:
    """Rows by run, each increasing; one run, which may be empty, where all tokens are taken."""
    if tokens <= most:
        return [np.arange(tokens)]
    number = min(_RUNS, most)
    each, room = most // number, tokens // number
    runs = even_runs(tokens, min(max(_RUN_TOKENS, each), room), number)
    return [run.start + np.linspace(0, run.stop - run.start - 1, each).astype(np.int64) for run in runs]


def _joined(parts: Sequence[StoredFit]) -> StoredFit:
    def of(values: list) -> object:
        if isinstance(values[0], dict):
            return {name: np.concatenate([value[name] for value in values]) for name in values[0]}
        return None if values[0] is None else np.concatenate(values)

    names = [field.name for field in dataclasses.fields(StoredFit)]
    return StoredFit(**{name: of([getattr(part, name) for part in parts]) for name in names})  # type: ignore[arg-type]
