"""Fit stores: one array a parameter, read by slices."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from .access import axis_values, read_coordinate, token_range
from .ledger import Ledger
from .location import Location, StoreLike, arrays_of, locate
from .reading import read_rows
from .schema import CHECKPOINT, FIT_ARRAYS, TOKEN, coordinates
from .validation import raise_if_invalid


@dataclasses.dataclass(frozen=True)
class StoredFit:
    """Fits of consecutive tokens as NumPy arrays (tokens,), named as in `tsl_jax.lm.Fit`."""

    params: dict[str, np.ndarray]
    stderr: dict[str, np.ndarray]
    rss: np.ndarray
    r2: np.ndarray
    num_points: np.ndarray
    status: np.ndarray
    category: np.ndarray
    constant: np.ndarray


@dataclasses.dataclass(frozen=True)
class FitStore:
    """An open fit store; arrays are read when asked for.

    Attributes:
        location: where it is.
        arrays: Zarr arrays (token,) by name: parameters, standard errors, `rss`, `status`, ...
        token_coordinates: Zarr arrays (token,) by name, copied from the losses.
        checkpoint_coordinates: values (checkpoint,) by name.
        attributes: group attributes: family, axis, scale, options, input, and the losses' own.
        ledger: which blocks were finished when the store was opened.
    """

    location: Location
    arrays: Mapping[str, zarr.Array]
    token_coordinates: Mapping[str, zarr.Array]
    checkpoint_coordinates: Mapping[str, np.ndarray]
    attributes: Mapping[str, Any]
    ledger: Ledger

    @property
    def name(self) -> str:
        """What to call it in messages: its path or URL."""
        return self.location.name

    @property
    def num_tokens(self) -> int:
        """Number of tokens, fitted or not yet."""
        return self.arrays["status"].shape[0]

    @property
    def num_checkpoints(self) -> int:
        """Number of checkpoints of the losses."""
        return len(self.checkpoint_coordinates[self.axis_name])

    @property
    def family(self) -> str:
        """Name of the fitted family, such as ``"sigmoid"``."""
        return self.attributes["family"]

    @property
    def scale(self) -> str:
        """``"log"`` or ``"linear"``: the coordinate in which the curves were fitted."""
        return self.attributes["scale"]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.attributes["parameters"])

    @property
    def axis_name(self) -> str:
        """Name of the axis of the fits, such as ``"step"``."""
        return self.attributes["axis"]

    @property
    def options(self) -> Mapping[str, Any]:
        """Every option of the fit, by name."""
        return self.attributes["options"]

    @property
    def left_out_checkpoints(self) -> tuple[int, ...]:
        """Checkpoints (columns) that were not used, such as step 0 on a log scale."""
        return tuple(self.attributes.get("left_out_checkpoints", ()))

    @property
    def complete(self) -> bool:
        """Whether every block was finished, without bad chunks, when the store was opened."""
        return self.ledger.complete

    @property
    def chunk_tokens(self) -> int:
        """Tokens in a chunk, the smallest piece that can be read."""
        return self.arrays["status"].chunks[0]

    @property
    def shard_tokens(self) -> int | None:
        """Tokens in a shard, or None where chunks are stored one by one."""
        shards = self.arrays["status"].shards
        return shards[0] if shards else None

    def axis(self, name: str | None = None) -> np.ndarray:
        """Values of an axis, one a checkpoint, as float64; by default the axis of the fits.

        Raises:
            StoreError: there is no such axis, or it does not increase.
        """
        return axis_values(self.name, self.checkpoint_coordinates, name or self.axis_name)

    def read(self, tokens: slice = slice(None)) -> StoredFit:
        """Fits of consecutive tokens; tokens that are not fitted yet have status PENDING (255) and NaN.

        Raises:
            ChunkError: a chunk of the fit store is corrupted.
        """
        rows = token_range(tokens, self.num_tokens)
        values = {name: read_rows(self.arrays[name], *rows) for name in self.array_names}
        return StoredFit(
            params={name: values[name] for name in self.parameters},
            stderr={name: values[f"{name}_stderr"] for name in self.parameters},
            **{name: values[name] for name in FIT_ARRAYS},
        )

    def read_coordinate(self, name: str, tokens: slice = slice(None)) -> np.ndarray:
        """A token coordinate of consecutive tokens."""
        return read_coordinate(self.name, self.token_coordinates, name, tokens, self.num_tokens)

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of the arrays that fitting writes."""
        return fit_array_names(self.parameters)


def fit_array_names(parameters: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the arrays of a fit store with these parameters, coordinates apart."""
    return (*parameters, *(f"{name}_stderr" for name in parameters), *FIT_ARRAYS)


def open_fits(store: StoreLike) -> FitStore:
    """Open a fit store of any kind that Zarr can open, finished or not.

    Args:
        store: a path, a zip file, a URL, a Zarr store object or path, or a Zarr group.

    Raises:
        StoreNotFoundError: there is no Zarr group.
        InvalidStoreError: the store breaks the schema; every violation is listed.

    Example:
        >>> fits = open_fits("fits.zarr")  # doctest: +SKIP
        >>> fits.read(slice(0, 1000)).params["learning_time"]  # doctest: +SKIP
    """
    location = locate(store)
    return open_fits_at(location, location.open_group())


def open_fits_at(location: Location, group: zarr.Group) -> FitStore:
    """`open_fits` for a group that is open, for writing too."""
    raise_if_invalid(location, group, "fits")
    arrays = arrays_of(group)
    names = fit_array_names(tuple(group.attrs["parameters"]))  # type: ignore[arg-type]
    return FitStore(
        location=location,
        arrays={name: arrays[name] for name in names},
        token_coordinates={k: v for k, v in coordinates(arrays, TOKEN).items() if k not in names},
        checkpoint_coordinates={
            name: read_rows(array, 0, array.shape[0]) for name, array in coordinates(arrays, CHECKPOINT).items()
        },
        attributes=group.attrs.asdict(),
        ledger=Ledger.read(group),
    )
