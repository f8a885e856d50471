"""The sufficient statistic of a spectrum: exact counts and sums by learning time, sharpness and resample group."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..curves import Sigmoid
from ..fitting import Fit
from ..jax_switches import with_own_switches
from ..linalg.known import module_of
from ..pytrees import pytree, static
from .blocks import TokenBlock, block_rows, token_block
from .cells import cells_of
from .events import DROP_UNIT, NUM_KINDS, SQUARE_UNIT, Kind
from .exact import MOST_ITEMS, Exact, tally
from .grid import SpectrumGrid, grid_over


@pytree
class Moments:
    """Counts and sums as float32, of all tokens or of one bootstrap replicate; what all analyses start from.

    The first axis is 0 for losses that fall and 1 for losses that rise at the event; times run from early to late:
    outside bins, the window, outside bins (see `SpectrumGrid`).

    Attributes:
        count: events.
        drop: sum of the sizes of their drops (nat); of events outside the window the parts inside it. Each is shared
            between the two `SpectrumGrid.sharpnesses` around the event's own, in proportion in ln(sharpness).
        square: sum of the squares of those drops (nat²).
        kinds: tokens by `Kind`.
        level: sum of all curves' losses at the end of the window and of the constants that count (nat).
        grid: the bins (static).
    """

    count: Float[Array, "2 times sharpnesses"]
    drop: Float[Array, "2 times sharpnesses"]
    square: Float[Array, "2 times sharpnesses"]
    kinds: Float[Array, " kinds"]
    level: Float[Array, ""]
    grid: SpectrumGrid = static()

    @property
    def tokens(self) -> Float[Array, ""]:
        """Number of tokens in the mean loss: those with a curve or a constant that counts."""
        return module_of(self.kinds).sum(self.kinds[: Kind.CONSTANT + 1])

    @property
    def per_token(self) -> Float[Array, ""]:
        """``1 / tokens``, and 0 without tokens, so that empty spectra give zeros."""
        xp = module_of(self.kinds)
        return xp.where(self.tokens > 0, 1 / xp.maximum(self.tokens, 1e-30), 0)

    @property
    def outside_fractions(self) -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
        """Shares of the events outside the window, before it and after it: of all events, and of all visible drops."""
        number = self.grid.outside_bins

        def fractions(cells):
            by_time = jnp.sum(cells, (0, 2))
            outside = jnp.stack([jnp.sum(by_time[:number]), jnp.sum(by_time[-number:])])
            total = jnp.sum(by_time)
            return jnp.where(total > 0, outside / jnp.maximum(total, 1e-30), 0)

        return fractions(self.count), fractions(self.drop)


@pytree
class Spectrum:
    """Learning times and sharpness of any number of tokens; ``a + b`` is the spectrum of both, exactly.

    Sums are whole multiples of `DROP_UNIT` and `SQUARE_UNIT` in 64-bit integers, so that neither the order of tokens
    nor how they are split among blocks and machines changes a bit. (Another kind of device may round a token's own
    numbers differently, by one unit or into the next bin.) Every token is counted under one `Kind`.
    The first axis of all arrays are the resample groups: whole sequences, by a hash of their number.

    Attributes:
        count: (resamples, 2, times, sharpnesses) tokens with an event; falling ones first, then rising ones.
        drop: (resamples, 2, times, sharpnesses) sum of the sizes of their drops, as in `Moments`.
        square: (resamples, 2, times, sharpnesses) sum of the squares of their drops.
        kinds: (resamples, kinds) tokens by `Kind`.
        level: (resamples, 2) sum of the losses at the end of the window and of constants; negative ones apart.
        grid: the bins (static).

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> spectrum = tsl.Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> spectrum.tokens["LEARNED"]
        64

    Source: arXiv 2606.29858.
    """

    count: Exact
    drop: Exact
    square: Exact
    kinds: Exact
    level: Exact
    grid: SpectrumGrid = static()

    @classmethod
    def empty(cls, grid: SpectrumGrid) -> "Spectrum":
        """The spectrum of no tokens."""
        shape = (grid.resamples, *grid.shape)
        return cls(
            count=Exact.zeros(shape),
            drop=Exact.zeros(shape),
            square=Exact.zeros(shape),
            kinds=Exact.zeros((grid.resamples, NUM_KINDS)),
            level=Exact.zeros((grid.resamples, 2)),
            grid=grid,
        )

    @classmethod
    @with_own_switches
    def from_fits(
        cls,
        fit: Fit,
        time: Float[Array, " checkpoints"],
        sequence=None,
        *,
        grid: SpectrumGrid | None = None,
    ) -> "Spectrum":
        """The spectrum of sigmoid fits.

        Args:
            fit: of `tsl_jax.Sigmoid`, any leading shape.
            time: (checkpoints,) axis values, as given to the fit.
            sequence: whole numbers of the fit's shape that tokens of one sequence share; by default every token is
                its own sequence, which makes bands too narrow where tokens of a sequence are alike.
            grid: the bins; by default `grid_over(time, fit.family.scale)`.

        Returns:
            `Spectrum`; empty for a fit of no tokens.

        Raises:
            TypeError: the fit is of another family.
            ValueError: ``sequence`` is of another shape, the grid of another scale, or ``time`` does not increase.

        Example:
            >>> import jax.numpy as jnp, tsl_jax as tsl
            >>> step = jnp.geomspace(1.0, 1000.0, 40)
            >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
            >>> spectrum = tsl.Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
            >>> spectrum.tokens["LEARNED"], (spectrum + spectrum).tokens["LEARNED"]
            (64, 128)
        """
        if not isinstance(fit.family, Sigmoid):
            raise TypeError(f"fit: got family {fit.family.name!r}, expected 'sigmoid', whose curves are single events")
        grid = grid or grid_over(time, fit.family.scale)
        if grid.scale != fit.family.scale:
            raise ValueError(f"grid: got scale {grid.scale!r}, expected that of the fits, {fit.family.scale!r}")
        number = int(np.prod(np.shape(fit.status)))
        sequence = np.arange(number) if sequence is None else sequence
        if np.shape(sequence) not in (np.shape(fit.status), (number,)):
            raise ValueError(f"sequence: got shape {np.shape(sequence)}, expected {np.shape(fit.status)}")
        rows = block_rows(fit.params, fit.constant, fit.status, fit.category, sequence)
        return accumulate_rows(cls.empty(grid), rows) if number else cls.empty(grid)

    @with_own_switches
    def __add__(self, other: "Spectrum") -> "Spectrum":
        """The spectrum of the tokens of both.

        Raises:
            ValueError: their bins differ.
        """
        if not isinstance(other, Spectrum):
            return NotImplemented
        if self.grid != other.grid:
            raise ValueError(f"spectra have different bins and cannot be added: {self.grid} and {other.grid}")
        return _add(self, other)

    @property
    def tokens(self) -> dict[str, int]:
        """Number of tokens by the name of their `Kind`, exactly."""
        return {kind.name: int(number) for kind, number in zip(Kind, self.kinds.integers().sum(0), strict=True)}

    @property
    def learned(self) -> dict[str, int]:
        """The tokens with an event inside the window by whether their loss is ``falling`` or ``rising``, exactly."""
        inside = self.count.integers()[:, :, self.grid.outside_bins :][:, :, : self.grid.time_bins]
        return dict(zip(("falling", "rising"), inside.sum((0, 2, 3)).tolist(), strict=True))

    @with_own_switches
    def moments(self) -> Moments:
        """The statistic as float32, summed over the resample groups."""
        return _moments(self, True)

    @with_own_switches
    def moments_by_resample(self) -> Moments:
        """The statistic as float32 with the resample groups as a first axis of all arrays."""
        return _moments(self, False)


UNITS = (1.0, DROP_UNIT, SQUARE_UNIT, 1.0, DROP_UNIT)  #: of the parts, in the order of `Moments`


@jax.jit
def _add(a: Spectrum, b: Spectrum) -> Spectrum:
    return jax.tree.map(lambda x, y: x + y, a, b, is_leaf=lambda node: isinstance(node, Exact))


@functools.partial(jax.jit, static_argnums=1)
def _moments(spectrum: Spectrum, total: bool) -> Moments:
    parts = (spectrum.count, spectrum.drop, spectrum.square, spectrum.kinds, spectrum.level)
    count, drop, square, kinds, level = (
        (part.sum(0) if total else part).real(unit) for part, unit in zip(parts, UNITS, strict=True)
    )
    return Moments(count, drop, square, kinds, level[..., 0] - level[..., 1], spectrum.grid)


@with_own_switches
@functools.partial(jax.jit, donate_argnums=0)
def accumulate(spectrum: Spectrum, block: TokenBlock) -> Spectrum:
    """Add a block of tokens to a spectrum, which is used up: its memory becomes the result's.

    Compiled once for each length of blocks, see `token_block`; takes a walk over the whole statistic whatever the
    length, so that blocks of `MOST_ITEMS` are cheapest.

    Args:
        spectrum: what to add to; not usable afterwards.
        block: tokens whose fits have the scale and the axis of the spectrum's grid.
    """
    grid = spectrum.grid
    add = cells_of(grid, block)
    cells = (grid.resamples, *grid.shape)
    both, drops = jnp.concatenate([add.lower, add.upper]), jnp.concatenate([add.lower_drop, add.upper_drop])
    return Spectrum(
        spectrum.count + tally(add.event, cells),
        spectrum.drop + tally(both, cells, drops),
        spectrum.square + tally(add.event, cells, add.square),
        spectrum.kinds + tally(add.kind, (grid.resamples, NUM_KINDS)),
        spectrum.level + tally(add.side, (grid.resamples, 2), add.level),
        grid,
    )


def accumulate_rows(spectrum: Spectrum, rows: tuple[np.ndarray, ...]) -> Spectrum:
    """`accumulate` for any number of rows from `block_rows`, block by block; the spectrum passed in is used up."""
    number = len(rows[0])
    length = min(MOST_ITEMS, 1 << (number - 1).bit_length())  # few lengths, few compilations
    for start in range(0, number, length):
        part = tuple(values[start : start + length] for values in rows)
        spectrum = accumulate(spectrum, token_block(part, length))
    return spectrum
