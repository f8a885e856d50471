"""Loss stores: per-token losses over training."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from .access import axis_values, read_coordinate, token_range
from .location import Location, StoreLike, arrays_of, locate
from .reading import read_rows
from .schema import CHECKPOINT, TOKEN, coordinates, increases
from .validation import raise_if_invalid


@dataclasses.dataclass(frozen=True)
class LossStore:
    """An open loss store; arrays are read when asked for.

    Attributes:
        location: where it is.
        losses: the Zarr array (token, checkpoint), nat; NaN = not measured.
        token_coordinates: Zarr arrays (token,) by name: `domain`, `position`, ...
        checkpoint_coordinates: values (checkpoint,) by name, read.
        attributes: group attributes: names of domains, units, provenance.
    """

    location: Location
    losses: zarr.Array
    token_coordinates: Mapping[str, zarr.Array]
    checkpoint_coordinates: Mapping[str, np.ndarray]
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What to call it in messages: its path or URL."""
        return self.location.name

    @property
    def num_tokens(self) -> int:
        """Number of tokens, the rows."""
        return self.losses.shape[0]

    @property
    def num_checkpoints(self) -> int:
        """Number of checkpoints, the columns."""
        return self.losses.shape[1]

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the checkpoint coordinates that increase, over which curves can be fitted."""
        return tuple(name for name, values in self.checkpoint_coordinates.items() if increases(values))

    @property
    def chunk_tokens(self) -> int:
        """Tokens in a chunk, the smallest piece that can be read."""
        return self.losses.chunks[0]

    @property
    def shard_tokens(self) -> int | None:
        """Tokens in a shard (one stored object of many chunks); None where chunks are stored one by one."""
        return self.losses.shards[0] if self.losses.shards else None

    def axis(self, name: str = "step") -> np.ndarray:
        """Values of an axis, one a checkpoint, as float64.

        Raises:
            StoreError: there is no such axis, or it does not increase.
        """
        return axis_values(self.name, self.checkpoint_coordinates, name)

    def read(self, tokens: slice = slice(None)) -> np.ndarray:
        """Losses of consecutive tokens, (tokens, checkpoints), in the stored dtype.

        Raises:
            ChunkError: a chunk is corrupted or absent.
        """
        return read_rows(self.losses, *token_range(tokens, self.num_tokens))

    def read_coordinate(self, name: str, tokens: slice = slice(None)) -> np.ndarray:
        """A token coordinate of consecutive tokens."""
        return read_coordinate(self.name, self.token_coordinates, name, tokens, self.num_tokens)


def open_losses(store: StoreLike) -> LossStore:
    """Open a loss store of any kind that Zarr can open, after checking all of it but the losses themselves.

    Args:
        store: a path, a zip file, a URL, a Zarr store object or path, or a Zarr group.

    Raises:
        StoreNotFoundError: there is no Zarr group.
        InvalidStoreError: the store breaks the schema; every violation is listed.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> memory = zarr.storage.MemoryStore()
        >>> _ = create_losses(memory, np.ones((4, 3), "float16"), checkpoints={"step": [1, 10, 20]})
        >>> open_losses(memory).num_tokens
        4
    """
    location = locate(store)
    group = location.open_group()
    raise_if_invalid(location, group, "losses")
    arrays = arrays_of(group)
    columns = {name: array for name, array in coordinates(arrays, CHECKPOINT).items() if name != "losses"}
    return LossStore(
        location=location,
        losses=arrays["losses"],
        token_coordinates=coordinates(arrays, TOKEN),
        checkpoint_coordinates={name: read_rows(array, 0, array.shape[0]) for name, array in columns.items()},
        attributes=group.attrs.asdict(),
    )
