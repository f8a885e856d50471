"""Fit stores: one array a parameter, read by slices."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from ..presentation import Presented, presented
from .absent import absent_chunks
from .access import TokenStore
from .arrays import storing_all
from .errors import DAMAGED_COMBINED_CURE, DAMAGED_FITS_CURE, ChunkError
from .ledger import BlockState, Ledger
from .location import Location, StoreLike, locate
from .reading import read_rows
from .schema import CHECKPOINT, LEDGER, PROBABILITY_ARRAYS, TOKEN, coordinates, decode_probability, fit_array_kinds
from .validation import raise_if_invalid


@dataclasses.dataclass(frozen=True)
class StoredFit:
    """Fits of consecutive tokens as NumPy arrays (tokens,), named as in `tsl_jax.fitting.Fit`.

    Probabilities are to the nearest 254th, NaN for tokens without a fit; ``{}`` and None for families without an event.
    ``stored[rows]`` are some of them.
    """

    params: dict[str, np.ndarray]
    stderr: dict[str, np.ndarray]
    rss: np.ndarray
    r2: np.ndarray
    num_points: np.ndarray
    status: np.ndarray
    category: np.ndarray
    constant: np.ndarray
    noise_correlation: np.ndarray
    effective_points: np.ndarray
    probabilities: dict[str, np.ndarray]
    second_event: np.ndarray | None

    def __getitem__(self, rows: Any) -> "StoredFit":
        def some(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: array[rows] for name, array in value.items()}
            return None if value is None else value[rows]

        return StoredFit(**{field.name: some(getattr(self, field.name)) for field in dataclasses.fields(self)})


@dataclasses.dataclass(frozen=True, repr=False)
class FitStore(TokenStore, Presented):
    """An open fit store, of tokens that are fitted or not yet; arrays are read when asked for.

    ``len(fits)`` is the number of tokens; ``fits[3]``, ``fits[:10]`` and ``fits[mask]`` read them as a
    `tsl_jax.Fit`. ``fits.to_pandas()`` and ``fits.to_xarray()`` read all, ``fits.plot(losses)`` draws curves.

    Attributes:
        location: where it is.
        token_coordinates: Zarr arrays (token,) by name, copied from the losses.
        checkpoint_coordinates: values (checkpoint,) by name.
        attributes: group attributes: family, axis, scale, options, input, and the losses' own.
        arrays: Zarr arrays (token,) by name: parameters, standard errors, `rss`, `status`, ...
        ledger: which blocks were finished when the store was opened.
    """

    arrays: Mapping[str, zarr.Array]
    ledger: Ledger

    def __len__(self) -> int:
        return self.num_tokens

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: Any) -> Any:
        return presented("load", self, index)

    def __repr__(self) -> str:
        done = "complete" if self.complete else "unfinished"
        what = f"{self.num_tokens:,} tokens x {self.num_checkpoints} checkpoints"
        return f"FitStore({self.name!r}, {what}, {self.family} over {self.axis_name} ({self.scale}), {done})"

    def plot(self, losses: Any = None, *, tokens: Any = None, family: Any = None) -> Any:
        """Draw losses and curves of some tokens: `tsl_jax.plots.plot_tokens`; by default some of every kind."""
        return presented("plot", self, losses, tokens=tokens, family=family)

    @property
    def main_array(self) -> zarr.Array:
        """The statuses."""
        return self.arrays["status"]

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
    def event(self) -> str | None:
        """Name of the parameter that says when the event is, such as ``"learning_time"``; None without one."""
        return self.attributes["event"]

    @property
    def noise(self) -> Mapping[str, Any] | None:
        """The noise model that all tokens share, as `NoiseModel.from_dict` takes it; None where there is none."""
        return self.attributes["noise"]

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

    def axis(self, name: str | None = None) -> np.ndarray:
        """Values of an axis, one a checkpoint, as float64; by default the axis of the fits.

        Raises:
            StoreError: there is no such axis, or it does not increase.
        """
        return self.values_of_axis(name or self.axis_name)

    def read(self, tokens: slice = slice(None)) -> StoredFit:
        """Fits of consecutive tokens; tokens that are not fitted yet have status PENDING (255) and NaN.

        Raises:
            ChunkError: a chunk of the fit store is corrupted or lost.
        """
        rows = self.rows(tokens)
        values = {name: self.read_array(self.arrays[name], *rows) for name in self.array_names}
        stored = PROBABILITY_ARRAYS if self.event else {}
        likely = {name: decode_probability(values.pop(array)) for name, array in stored.items()}
        second = likely.pop("second_event", None)
        params = {name: values.pop(name) for name in self.parameters}
        stderr = {name: values.pop(f"{name}_stderr") for name in self.parameters}
        values |= {name: values[name].astype(np.float32) for name in ("noise_correlation", "effective_points")}
        return StoredFit(params=params, stderr=stderr, probabilities=likely, second_event=second, **values)

    def read_array(self, array: zarr.Array, start: int, stop: int) -> np.ndarray:
        """Rows of one of the arrays over tokens; the array's fill value where no block is finished yet.

        Raises:
            ChunkError: a chunk is corrupted, or absent though its block is finished.
        """
        try:
            values = read_rows(array, start, stop, absent="fill")
        except ChunkError as error:
            raise ChunkError(self.name, error.bad, self._cure) from error.__cause__
        for bad, _ in absent_chunks(array, values, start):
            if self.ledger.states[bad.start // self.ledger.block_tokens] != BlockState.PENDING:
                raise ChunkError(self.name, bad, self._cure)
        return values

    @property
    def combined(self) -> bool:
        """Whether these are fits of several runs, combined."""
        return "combined" in self.attributes

    @property
    def _cure(self) -> str:
        return DAMAGED_COMBINED_CURE if self.combined else DAMAGED_FITS_CURE

    def block_rows(self, block: int) -> tuple[int, int]:
        """First token of a block of the ledger, and one past its last."""
        start = block * self.ledger.block_tokens
        return start, min(start + self.ledger.block_tokens, self.num_tokens)

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of the arrays that fitting writes."""
        return tuple(fit_array_kinds(self.parameters, self.event))


def open_fits(store: StoreLike) -> FitStore:
    """Open a fit store of any kind that Zarr can open, finished or not.

    Args:
        store: a path, a zip file, a URL, a Zarr store object or path, or a Zarr group.

    Returns:
        The open store; its fits are read when asked for, by `FitStore.read`.

    Raises:
        StoreNotFoundError: there is no Zarr group.
        InvalidStoreError: the store breaks the schema; every violation is listed.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> step = np.geomspace(10, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.array([[100.0], [800.0]])) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> fits = open_fits(target)
        >>> fits.read(slice(0, 2)).params["learning_time"].round(1).tolist(), fits.complete
        ([100.0, 800.0], True)
    """
    location = locate(store)
    return open_fits_at(location, location.open_group())


def open_fits_at(
    location: Location, group: zarr.Group, *, repair: bool = False, blocks: tuple[int, int] | None = None
) -> FitStore:
    """`open_fits` for a group that is open, for writing too; ``repair`` and ``blocks``: see `Ledger.read`."""
    arrays = raise_if_invalid(location, group, "fits")
    arrays = {name: storing_all(array) for name, array in arrays.items()}
    names = fit_array_kinds(group.attrs["parameters"], group.attrs["event"])  # type: ignore[arg-type]
    ledger = Ledger.read(arrays[LEDGER], location.name, repair=repair, blocks=blocks)
    return FitStore(
        location=location,
        arrays={name: arrays[name] for name in names},
        token_coordinates={k: v for k, v in coordinates(arrays, TOKEN).items() if k not in names},
        checkpoint_coordinates={
            name: read_rows(array, 0, array.shape[0]) for name, array in coordinates(arrays, CHECKPOINT).items()
        },
        attributes=group.attrs.asdict(),
        ledger=ledger,
    )
