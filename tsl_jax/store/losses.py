"""Loss stores: per-token losses over training."""

import dataclasses

import numpy as np
import zarr

from .access import TokenStore
from .location import Location, StoreLike, arrays_of, locate
from .reading import read_rows
from .schema import CHECKPOINT, TOKEN, coordinates, increases
from .validation import raise_if_invalid


@dataclasses.dataclass(frozen=True)
class LossStore(TokenStore):
    """An open loss store; arrays are read when asked for.

    Attributes:
        location: where it is.
        token_coordinates: Zarr arrays (token,) by name: `domain`, `position`, ...
        checkpoint_coordinates: values (checkpoint,) by name, read.
        attributes: group attributes: names of domains, units, provenance.
        losses: the Zarr array (token, checkpoint), nat; NaN = not measured.
    """

    losses: zarr.Array

    @property
    def main_array(self) -> zarr.Array:
        """The losses."""
        return self.losses

    @property
    def num_checkpoints(self) -> int:
        """Number of checkpoints, the columns."""
        return self.losses.shape[1]

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the checkpoint coordinates that increase, over which curves can be fitted."""
        return tuple(name for name, values in self.checkpoint_coordinates.items() if increases(values))

    def axis(self, name: str = "step") -> np.ndarray:
        """Values of an axis, one a checkpoint, as float64.

        Raises:
            StoreError: there is no such axis, or it does not increase.
        """
        return self.values_of_axis(name)

    def read(self, tokens: slice = slice(None)) -> np.ndarray:
        """Losses of consecutive tokens, (tokens, checkpoints), in the stored dtype.

        Raises:
            ChunkError: a chunk is corrupted or absent.
        """
        return read_rows(self.losses, *self.rows(tokens))


def open_losses(store: StoreLike) -> LossStore:
    """Open a loss store of any kind that Zarr can open, after checking all of it but the losses themselves.

    Args:
        store: a path, a zip file, a URL, a Zarr store object or path, or a Zarr group.

    Returns:
        The open store; its losses are read when asked for, by `LossStore.read`.

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
    return open_losses_at(location, location.open_group())


def open_losses_at(location: Location, group: zarr.Group) -> LossStore:
    """`open_losses` for a group that is open, for writing too."""
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
