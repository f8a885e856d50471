"""Loss stores: per-token losses over training."""

import dataclasses

import numpy as np
import zarr

from .access import TokenStore
from .arrays import storing_all
from .encodings import encoding_of
from .errors import ChunkError, InvalidStoreError, Violation
from .location import Location, StoreLike, locate
from .presence import Objects, lost_chunks
from .reading import Absent, read_rows
from .schema import BY_CHECKPOINT, CHECKPOINT, TOKEN, MissingChunks, checked_missing_chunks, coordinates, increases
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
        missing_chunks: what chunks are that are not stored; see `open_losses`.
    """

    losses: zarr.Array
    missing_chunks: MissingChunks = "refuse"

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
        return self.read_array(self.losses, *self.rows(tokens))

    def read_array(self, array: zarr.Array, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        """Rows of the losses or of a token coordinate; ``into``: see `read_rows`.

        Raises:
            ChunkError: a chunk is corrupted, or absent and not said to be so on purpose.
        """
        return read_rows(array, start, stop, absent=self.absent(array), into=into)

    def absent(self, array: zarr.Array) -> Absent:
        """What a chunk of one of the arrays is that is not stored."""
        if array.ndim == 1:  # a coordinate
            return "fill" if self.missing_chunks == "as-fill" else "refuse"
        return "refuse" if self.missing_chunks == "refuse" else "nan"

    def raise_if_lost(self, objects: Objects | None) -> None:
        """Raise if stored objects are absent or empty: all of them in one error, before anything is read.

        Raises:
            ChunkError: their number and the first places.
        """
        if objects is None:  # a store that cannot be listed: reading tells
            return
        for array in (self.losses, *self.token_coordinates.values()):
            lost = lost_chunks(array, objects)
            lost = [bad for bad in lost if not bad.absent or self.absent(array) == "refuse"]
            if lost:
                raise ChunkError(self.name, lost[0], others=lost[1:])


def open_losses(store: StoreLike, *, missing_chunks: MissingChunks = "refuse") -> LossStore:
    """Open a loss store of any kind that Zarr can open, after checking all of it but the losses themselves.

    Args:
        store: a path, a zip file, a URL, a Zarr store object or path, or a Zarr group.
        missing_chunks: what a chunk is that is not stored. ``"refuse"``: lost, so that reading it is an error.
            ``"as-nan"``: losses that were not measured; those of coordinates are still refused. ``"as-fill"``: that,
            and coordinates of the fill value, as writers mean it that leave out chunks of zeros.

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
    group = location.open_group()
    refuse_foreign_losses(location, group)
    return open_losses_at(location, group, missing_chunks)


def refuse_foreign_losses(location: Location, group: zarr.Group) -> None:
    """Raise if a group is no store of this package but holds losses that can be imported, with the command that does.

    Raises:
        InvalidStoreError: it is one.
    """
    kind = group.attrs.get("tsl_kind")
    hint = location.import_hint() if kind in (None, BY_CHECKPOINT) else None
    if hint is not None:
        raise InvalidStoreError(
            location.name,
            "losses",
            [Violation("attribute tsl_kind", f"got {kind!r}" if kind else "there is none", "'losses'", f"{hint}.")],
        )


def open_losses_at(
    location: Location, group: zarr.Group, missing_chunks: MissingChunks = "refuse", *, encoded: bool = False
) -> LossStore:
    """`open_losses` for a group that is open, for writing too.

    Args:
        location: of the group.
        group: open.
        missing_chunks: see `open_losses`.
        encoded: whether numbers may be stored in the ways of netCDF: those of checkpoints are decoded, those of tokens
            are the caller's to decode.
    """
    absent: Absent = "fill" if checked_missing_chunks(missing_chunks) == "as-fill" else "refuse"
    axes: dict[str, np.ndarray] = {}
    arrays = raise_if_invalid(location, group, "losses", absent, encoded=encoded, axes=axes)
    arrays = {name: storing_all(array) for name, array in arrays.items()}
    columns = {name: array for name, array in coordinates(arrays, CHECKPOINT).items() if name != "losses"}
    return LossStore(
        location=location,
        losses=arrays["losses"],
        token_coordinates=coordinates(arrays, TOKEN),
        checkpoint_coordinates={name: encoding_of(array).decode(axes[name]) for name, array in columns.items()},
        attributes=group.attrs.asdict(),
        missing_chunks=missing_chunks,
    )
