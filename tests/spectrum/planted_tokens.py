"""Planted tokens without the engine, and slow sums over them in float64 with NumPy and SciPy."""

import dataclasses

import numpy as np
from scipy.special import expit

from tsl_jax import Category, Status
from tsl_jax.spectrum import Spectrum, SpectrumGrid, accumulate, block_rows, token_block

#: Small enough to compile and run in no time; odd numbers, so that no axis can be taken for another.
LOG = SpectrumGrid(1.0, 1000.0, "log", time_bins=60, sharpness_bins=21, outside_bins=5, resamples=7)
LINEAR = SpectrumGrid(0.0, 1000.0, "linear", time_bins=60, sharpness_bins=21, outside_bins=5, resamples=7)
BLOCK = 512


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Fitted tokens: u, sharpness (1/u), drop, loss at the end, constant, status, category, sequence; all (tokens,)."""

    u: np.ndarray
    sharpness: np.ndarray
    drop: np.ndarray
    final: np.ndarray
    constant: np.ndarray
    status: np.ndarray
    category: np.ndarray
    sequence: np.ndarray

    def __len__(self):
        return len(self.u)

    def __getitem__(self, rows):
        return Tokens(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    @property
    def event(self):
        """Whose curve counts."""
        return np.isin(self.status, (0, 1, 2)) & (self.category != Category.UNLEARNED)

    def params(self, grid):
        """Named parameters as a fit has them."""
        return {
            "learning_time": grid.axis(self.u).astype(np.float32),
            "sharpness": self.sharpness.astype(np.float32),
            "loss_drop": self.drop.astype(np.float32),
            "final_loss": self.final.astype(np.float32),
        }

    def rows(self, grid):
        """What `token_block` takes."""
        return block_rows(self.params(grid), self.constant, self.status, self.category, self.sequence)


def tokens(grid, u, sharpness=20.0, drop=3.0, *, final=1.0, sequence=None, category=None):
    """Tokens with events at u; sharpness in units of 1 / window; categories follow from u."""
    u = np.atleast_1d(np.asarray(u, np.float64))
    number = len(u)
    x = (u - grid.origin) / grid.unit
    if category is None:
        category = np.select([x < 0, x > 1], [Category.EARLY, Category.LATE], Category.LEARNED)
    return Tokens(
        u=u,
        sharpness=np.broadcast_to(sharpness / grid.unit, number).astype(np.float64),
        drop=np.broadcast_to(drop, number).astype(np.float64),
        final=np.broadcast_to(final, number).astype(np.float64),
        constant=np.full(number, 2.0),
        status=np.full(number, Status.CONVERGED, np.uint8),
        category=np.broadcast_to(category, number).astype(np.uint8),
        sequence=np.arange(number) if sequence is None else np.asarray(sequence),
    )


def mixed(grid, number=300, seed=0, outside=0.3):
    """Tokens of all kinds: events inside and outside, falling and rising, flat and steep, some without a curve."""
    rng = np.random.default_rng(seed)
    u = grid.origin + grid.unit * rng.uniform(-outside, 1 + outside, number)
    sharpness = np.exp(rng.uniform(np.log(0.6), np.log(4 * grid.time_bins), number))
    drop = rng.normal(3, 1.5, number)
    all_events = tokens(grid, u, sharpness, drop, final=rng.uniform(0, 4, number), sequence=rng.integers(0, 40, number))
    category, status = all_events.category.copy(), all_events.status.copy()
    category[rng.random(number) < 0.1] = Category.UNLEARNED
    flat = rng.random(number) < 0.05
    category[flat], status[flat] = Category.NONE, Status.FLAT
    return dataclasses.replace(all_events, category=category, status=status, constant=rng.uniform(1, 6, number))


def spectrum_of(grid, planted, block=BLOCK):
    """The spectrum of any tokens, in blocks of one length."""
    spectrum = Spectrum.empty(grid)
    rows = planted.rows(grid)
    for start in range(0, len(planted), block):
        spectrum = accumulate(spectrum, token_block(tuple(values[start : start + block] for values in rows), block))
    return spectrum


def curves(planted, u):
    """(tokens, points) losses of what counts of each token: its curve or its constant."""
    z = planted.sharpness[:, None] * (np.asarray(u) - planted.u[:, None])
    curve = planted.final[:, None] + planted.drop[:, None] * expit(-z)
    return np.where(planted.event[:, None], curve, planted.constant[:, None])


def mean_loss(planted, u):
    """(points,) mean loss of all tokens."""
    return curves(planted, u).mean(axis=0)


def slope(planted, grid):
    """(time_bins,) -dL/du averaged over each bin of the window, from every token's own curve."""
    return -np.diff(mean_loss(planted, grid.edges)) / grid.width


def seen(planted, grid):
    """(tokens,) the part of each event's drop that falls inside the window, with sign."""
    losses = curves(planted, [grid.edges[0], grid.edges[-1]])
    return losses[:, 0] - losses[:, 1]
