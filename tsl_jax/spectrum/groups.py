"""Learning times by any coordinate of the tokens: domain, position, frequency, dependency length."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..jax_switches import with_own_switches
from ..linalg.known import compiled, module_of
from ..pytrees import pytree, static
from .blocks import TokenBlock
from .bootstrap import Bands, bands_of_sums
from .cells import group_cells_of
from .events import NUM_KINDS, Kind
from .exact import Exact, tally
from .grid import SpectrumGrid
from .pulses import level_reached, product


@pytree
class GroupCounts:
    """Events by group of tokens, learning time and resample group; ``a + b`` are the counts of both, exactly.

    Groups are numbered 0, 1, ...; tokens of any other number are counted in one more group at the end, so that all
    tokens are counted.

    Attributes:
        count: (groups + 1, resamples, 2, times) events; falling, then rising losses; times as in a `Spectrum`.
        kinds: (groups + 1, resamples, kinds) tokens by `Kind`.
        grid: the bins (static).
    """

    count: Exact
    kinds: Exact
    grid: SpectrumGrid = static()

    @classmethod
    def empty(cls, grid: SpectrumGrid, groups: int) -> "GroupCounts":
        """Counts of no tokens.

        Raises:
            ValueError: fewer than one group, or so many that their cells cannot be numbered in 32 bits.
        """
        times = grid.shape[1]
        most = (2**31 - 1) // (2 * times * grid.resamples) - 1
        if not 1 <= groups <= most:
            raise ValueError(f"groups: got {groups}, expected 1 to {most} with these bins; take wider time bins")
        return cls(
            Exact.zeros((groups + 1, grid.resamples, 2, times)),
            Exact.zeros((groups + 1, grid.resamples, NUM_KINDS)),
            grid,
        )

    def __add__(self, other: "GroupCounts") -> "GroupCounts":
        """The counts of both.

        Raises:
            ValueError: their bins or numbers of groups differ.
        """
        if not isinstance(other, GroupCounts):
            return NotImplemented
        if self.grid != other.grid or self.kinds.low.shape != other.kinds.low.shape:
            raise ValueError("counts by group have different bins or numbers of groups and cannot be added")
        return GroupCounts(self.count + other.count, self.kinds + other.kinds, self.grid)

    @property
    def tokens(self) -> list[dict[str, int]]:
        """Of each group, tokens by the name of their `Kind`, exactly; the last of no group."""
        table = self.kinds.integers().sum(1)
        return [{kind.name: int(number) for kind, number in zip(Kind, row, strict=True)} for row in table]


@with_own_switches
@functools.partial(jax.jit, donate_argnums=0)
def accumulate_groups(counts: GroupCounts, block: TokenBlock, group: Int[Array, " tokens"]) -> GroupCounts:
    """Add a block of tokens and their groups to counts, which are used up: their memory becomes the result's.

    Args:
        counts: what to add to.
        block: the tokens, see `tsl_jax.spectrum.accumulate`.
        group: (tokens,) number of each token's group; any number outside the range means no group.
    """
    grid = counts.grid
    rows = counts.kinds.low.shape[0]
    cells = group_cells_of(grid, block)
    group = jnp.where((group >= 0) & (group < rows - 1), group, rows - 1).astype(jnp.int32)

    def added(cell, shape):
        size = int(np.prod(shape[1:]))
        return tally(jnp.where(cell < size, group * size + cell, rows * size), shape)

    return GroupCounts(
        counts.count + added(cells.event, counts.count.low.shape),
        counts.kinds + added(cells.kind, counts.kinds.low.shape),
        grid,
    )


@pytree
class GroupTimes:
    """When tokens of each group are learned: of events inside the window whose loss falls; NaN without any.

    Attributes:
        tokens: tokens of the mean loss.
        events: falling events inside the window.
        learned: their fraction of the tokens.
        median: median learning time, axis units.
        mean: mean learning time, axis units; the geometric mean on a log scale.
        spectrum: density of their learning times, 1/u, at `SpectrumGrid.centres`.
    """

    tokens: Float[Array, " groups"]
    events: Float[Array, " groups"]
    learned: Float[Array, " groups"]
    median: Float[Array, " groups"]
    mean: Float[Array, " groups"]
    spectrum: Float[Array, "groups times"]


@with_own_switches
def group_times(counts: GroupCounts) -> GroupTimes:
    """Medians, means and spectra of all groups; the last row are tokens of no group.

    Args:
        counts: from `accumulate_groups`.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import GroupCounts, accumulate_groups, block_rows, grid_over, group_times, token_block
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> fit = tsl.fit(tsl.Sigmoid(), step, losses)
        >>> block = token_block(block_rows(fit.params, fit.constant, fit.status, fit.category, range(64)), 64)
        >>> counts = GroupCounts.empty(grid_over(step, "log"), 2)
        >>> counts = accumulate_groups(counts, block, jnp.arange(64) // 32)
        >>> group_times(counts).median[:2].round().tolist()
        [18.0, 57.0]
    """
    return _times(jax.tree.map(lambda array: jnp.sum(array, 0), _sums(counts)))


@with_own_switches
def group_bands(counts: GroupCounts, key: Array, *, replicates: int = 200, level: float = 0.9) -> Bands:
    """`group_times` with percentile bands by the Poisson bootstrap over groups of sequences, as in `bands`.

    Args:
        counts: from `accumulate_groups`.
        key: of `jax.random`.
        replicates: number of replicates.
        level: fraction of the replicates inside the band.

    Returns:
        `Bands` of `GroupTimes`.
    """
    return bands_of_sums(_times, (_sums(counts),), key, replicates=replicates, level=level)


@pytree
class EventSums:
    """Falling events inside the window and tokens of the mean loss, with the resample groups as first axis."""

    events: Float[Array, "resamples groups times"]
    tokens: Float[Array, "resamples groups"]
    grid: SpectrumGrid = static()


def stacked(counts: Sequence[GroupCounts]) -> EventSums:
    """The sums of several coordinates with their rows one after the other: those of each, and of no group."""
    inside = counts[0].grid.inside
    events = np.concatenate([one.count.integers()[:, :, 0, inside] for one in counts])
    tokens = np.concatenate([one.kinds.integers()[:, :, : Kind.CONSTANT + 1].sum(-1) for one in counts])
    events, tokens = (np.swapaxes(both, 0, 1).astype(np.float32) for both in (events, tokens))
    return EventSums(events, tokens, counts[0].grid)


def times_of(sums: EventSums, bins: int | None = None) -> GroupTimes:
    """`group_times` of summed sums, with spectra on wider ``bins``."""
    times = _times(sums)
    if bins is None:
        return times
    wider = module_of(times.spectrum).mean(times.spectrum.reshape(*times.spectrum.shape[:-1], bins, -1), -1)
    return dataclasses.replace(times, spectrum=wider)


@jax.jit
def _sums(counts: GroupCounts) -> EventSums:
    events = counts.count.real()[:, :, 0, counts.grid.inside]
    tokens = jnp.sum(counts.kinds.real()[:, :, : Kind.CONSTANT + 1], -1)
    return EventSums(jnp.swapaxes(events, 0, 1), tokens.T, counts.grid)


@compiled()
def _times(sums: EventSums) -> GroupTimes:
    xp = module_of(sums.events)
    grid, count = sums.grid, sums.events
    events = xp.sum(count, 1)
    fraction = xp.where(events > 0, 1 / xp.maximum(events, 1e-30), xp.nan)[:, None] * count
    centres = xp.asarray((grid.centres - grid.origin) / grid.unit, xp.float32)
    median = level_reached(count, events / 2) / grid.time_bins

    def axis(x):
        u = grid.origin + grid.unit * x
        return xp.exp(u) if grid.scale == "log" else u

    return GroupTimes(
        tokens=sums.tokens,
        events=events,
        learned=xp.where(sums.tokens > 0, events / xp.maximum(sums.tokens, 1e-30), xp.nan),
        median=xp.where(events > 0, axis(median), xp.nan),
        mean=axis(product(fraction, centres)),
        spectrum=fraction / grid.width,
    )
