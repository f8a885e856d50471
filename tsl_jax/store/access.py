"""What loss and fit stores share: tokens along rows, checkpoints along columns, coordinates on both."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from .errors import StoreError
from .location import Location
from .schema import increases


@dataclasses.dataclass(frozen=True)
class TokenStore(abc.ABC):
    """An open store with one row a token; arrays are read when asked for.

    Attributes:
        location: where it is.
        token_coordinates: Zarr arrays (token,) by name: `domain`, `position`, ...
        checkpoint_coordinates: values (checkpoint,) by name, read.
        attributes: group attributes.
    """

    location: Location
    token_coordinates: Mapping[str, zarr.Array]
    checkpoint_coordinates: Mapping[str, np.ndarray]
    attributes: Mapping[str, Any]

    @property
    @abc.abstractmethod
    def main_array(self) -> zarr.Array:
        """The array whose rows, chunks and shards are the store's."""

    @property
    def name(self) -> str:
        """What to call it in messages: its path or URL."""
        return self.location.name

    @property
    def num_tokens(self) -> int:
        """Number of tokens, the rows."""
        return self.main_array.shape[0]

    @property
    def chunk_tokens(self) -> int:
        """Tokens in a chunk, the smallest piece that can be read."""
        return self.main_array.chunks[0]

    @property
    def shard_tokens(self) -> int | None:
        """Tokens in a shard (one stored object of many chunks); None where chunks are stored one by one."""
        return self.main_array.shards[0] if self.main_array.shards else None

    def read_coordinate(self, name: str, tokens: slice = slice(None)) -> np.ndarray:
        """A token coordinate of consecutive tokens.

        Raises:
            StoreError: there is no such coordinate.
            ChunkError: a chunk of it is corrupted or absent.
        """
        if name not in self.token_coordinates:
            known = ", ".join(self.token_coordinates) or "none"
            raise StoreError(f"coordinate: got {name!r}, expected one of {known} ({self.name})")
        return self.read_array(self.token_coordinates[name], *self.rows(tokens))

    @abc.abstractmethod
    def read_array(self, array: zarr.Array, start: int, stop: int) -> np.ndarray:
        """Rows of one of the store's arrays over tokens.

        Raises:
            ChunkError: a chunk of it is corrupted, or absent where it should not be.
        """

    def values_of_axis(self, name: str) -> np.ndarray:
        """A checkpoint coordinate as float64, if curves can be fitted over it.

        Raises:
            StoreError: there is no such axis, or it does not increase.
        """
        columns = self.checkpoint_coordinates
        known = ", ".join(repr(key) for key, values in columns.items() if increases(values))
        if name not in columns:
            raise StoreError(f"axis: got {name!r}, expected one of {known} ({self.name})")
        if not increases(columns[name]):
            raise StoreError(f"axis: {name!r} does not increase strictly; expected one of {known} ({self.name})")
        return columns[name].astype(np.float64)

    def rows(self, tokens: slice) -> tuple[int, int]:
        """``(start, stop)`` of a slice of consecutive tokens.

        Raises:
            TypeError: it is no slice. StoreError: its step is not 1.
        """
        if not isinstance(tokens, slice):
            cure = f"for one token slice({tokens}, {tokens + 1})" if type(tokens) is int else "slice(start, stop)"
            raise TypeError(f"tokens: got {tokens!r}, expected a slice of consecutive tokens; {cure}")
        start, stop, step = tokens.indices(self.num_tokens)
        if step != 1:
            raise StoreError(f"tokens: got {tokens}, expected a slice with step 1")
        return start, max(start, stop)
