"""Where a stream of tokens is added up: on the device, or by NumPy where the device is the host's own CPU."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from .blocks import resample_of, token_block
from .cells import cells_of, group_cells_of
from .events import NUM_KINDS
from .exact import MOST_ITEMS, Exact
from .grid import SpectrumGrid
from .groups import GroupCounts, accumulate_groups
from .statistic import Spectrum, accumulate


class DeviceTally:
    """A spectrum and counts by group that grow block by block on the device.

    Args:
        grid: the bins.
        groups: number of groups by the name of each token coordinate.
    """

    #: Most tokens at once.
    most = MOST_ITEMS

    def __init__(self, grid: SpectrumGrid, groups: Mapping[str, int]) -> None:
        self._grid = grid
        self._spectrum = Spectrum.empty(grid)
        self._counts = {name: GroupCounts.empty(grid, number) for name, number in groups.items()}

    def add(self, rows: tuple[np.ndarray, ...], length: int, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        """Add tokens.

        Args:
            rows: from `block_rows`.
            length: they are padded to this length; the same each time, so that one program is compiled.
            groups: (tokens,) number of each token's group by the name of the coordinate.

        Returns:
            (tokens,) the resample group of each token.
        """
        block, number = token_block(rows, length), len(rows[0])
        self._spectrum = accumulate(self._spectrum, block)
        for name, group in groups.items():
            padded = jnp.asarray(np.pad(group, (0, length - number)))
            self._counts[name] = accumulate_groups(self._counts[name], block, padded)
        return np.asarray(_resamples(block.sequence, self._grid.resamples))[:number]

    def merge(self, other: "DeviceTally") -> "DeviceTally":
        """With the tokens of another, whose bins and groups are the same."""
        self._spectrum = self._spectrum + other._spectrum
        self._counts = {name: counts + other._counts[name] for name, counts in self._counts.items()}
        return self

    def spectrum(self) -> Spectrum:
        """The spectrum of all tokens so far."""
        return self._spectrum

    def counts(self, name: str) -> GroupCounts:
        """Their counts by group of a coordinate."""
        return self._counts[name]


class HostTally:
    """The same sums to the last bit by `np.bincount`, which takes a fifth of the time of XLA's scatters on a CPU.

    Args:
        grid: the bins.
        groups: number of groups by the name of each token coordinate.
    """

    #: Most tokens at once: a float64 holds sums of so many whole numbers below 2^28 exactly.
    most = 2**20

    def __init__(self, grid: SpectrumGrid, groups: Mapping[str, int]) -> None:
        self._grid = grid
        shape, by_resample = (grid.resamples, *grid.shape), (grid.resamples, NUM_KINDS)
        self._sums = {name: np.zeros(shape, np.int64) for name in ("count", "drop", "square")}
        self._sums |= {"kinds": np.zeros(by_resample, np.int64), "level": np.zeros((grid.resamples, 2), np.int64)}
        self._groups = {
            name: (
                np.zeros((number + 1, *shape[:3]), np.int64),
                np.zeros((number + 1, *by_resample), np.int64),
            )
            for name, number in groups.items()
        }

    def add(self, rows: tuple[np.ndarray, ...], length: int, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        """Add tokens; arguments and result as those of `DeviceTally.add`."""
        number = len(rows[0])
        cells, group_cells = jax.tree.map(
            lambda values: np.asarray(values)[:number],
            _cells(self._grid, token_block(rows, length, most=self.most)),
        )
        _add(self._sums["count"], cells.event)
        _add(self._sums["drop"], cells.lower, cells.lower_drop)
        _add(self._sums["drop"], cells.upper, cells.upper_drop)
        _add(self._sums["square"], cells.event, cells.square)
        _add(self._sums["kinds"], cells.kind)
        _add(self._sums["level"], cells.side, cells.level)
        for name, group in groups.items():
            count, kinds = self._groups[name]
            rest = len(kinds) - 1
            group = np.where((group >= 0) & (group < rest), group, rest).astype(np.int64)
            for total, cell in ((count, group_cells.event), (kinds, group_cells.kind)):
                size = total[0].size
                _add(total, np.where(cell < size, group * size + cell, total.size))
        return group_cells.resample

    def merge(self, other: "HostTally") -> "HostTally":
        """With the tokens of another, whose bins and groups are the same."""
        for name, total in self._sums.items():
            np.add(total, other._sums[name], out=total)
        for name, totals in self._groups.items():
            for total, added in zip(totals, other._groups[name], strict=True):
                np.add(total, added, out=total)
        return self

    def spectrum(self) -> Spectrum:
        """The spectrum of all tokens so far."""
        return Spectrum(**{name: _exact(total) for name, total in self._sums.items()}, grid=self._grid)

    def counts(self, name: str) -> GroupCounts:
        """Their counts by group of a coordinate."""
        count, kinds = self._groups[name]
        return GroupCounts(_exact(count), _exact(kinds), self._grid)


def tally_on(backend: str) -> type[DeviceTally] | type[HostTally]:
    """What adds up fastest on a backend of JAX."""
    return HostTally if backend == "cpu" else DeviceTally


_resamples = jax.jit(resample_of, static_argnums=1)


def _both(grid, block):
    return cells_of(grid, block), group_cells_of(grid, block)


_cells = jax.jit(_both, static_argnums=0)


def _add(total: np.ndarray, index: np.ndarray, values: np.ndarray | None = None) -> None:
    """Add whole numbers by flat index; those past the end are left out."""
    flat = total.reshape(-1)
    added = np.bincount(index, values, minlength=len(flat) + 1)[:-1]
    np.add(flat, added, out=flat, casting="unsafe")


def _exact(total: np.ndarray) -> Exact:
    low, high = (total & 0xFFFFFFFF).astype(np.uint32), (total >> 32).astype(np.uint32)
    return Exact(jnp.asarray(low), jnp.asarray(high))
