"""The decomposition of the mean loss's derivative: spectrum p, shared pulse g, p * g, and the exact sum of pulses."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..linalg.known import compiled, module_of
from ..linalg.known import product as contracted
from ..pytrees import pytree, static
from .grid import SpectrumGrid
from .pulses import convolve, outside_table, product, pulse_table, spread
from .statistic import Moments, Spectrum

Weighting = Literal["drop", "count"]
Outside = Literal["edge", "own", "inside"]


@pytree
class Decomposition:
    """``-dL/du ≈ Σ weight·(p * g)``, all losses per token of the mean loss; u and bins as in `SpectrumGrid`.

    Weighted by count there is one part: p is the density of events and g the mean of their centred pulses, which
    integrates to the mean drop (rising losses count negative). Weighted by drop there are two, falling and rising
    losses: p is the density of drops and g a pulse of area 1 (-1 where losses rise). Bootstrap replicates put an
    axis in front.

    Attributes:
        spectrum: p, 1/u, at `SpectrumGrid.centres`; integrates to 1 together with ``edges``.
        edges: fractions of p that lie on the window's first and last edge: the events outside (rule ``"edge"``).
        pulse: g at `SpectrumGrid.lags`: nat/u by count, 1/u by drop.
        weight: events per token by count; nat of drop per token by drop.
        convolved: ``Σ weight·(p * g)`` at the centres, nat/u, with the pulses of events outside under rule ``"own"``.
        implied: ``-dL/du`` from the pulse of every event, nat/u.
        grid: the bins (static).
    """

    spectrum: Float[Array, "parts times"]
    edges: Float[Array, "parts 2"]
    pulse: Float[Array, "parts lags"]
    weight: Float[Array, " parts"]
    convolved: Float[Array, " times"]
    implied: Float[Array, " times"]
    grid: SpectrumGrid = static()

    @property
    def u(self) -> np.ndarray:
        """(times,) where the curves are given, in the fitted coordinate."""
        return self.grid.centres

    @property
    def axis(self) -> np.ndarray:
        """(times,) the same as axis values."""
        return self.grid.axis(self.grid.centres)

    def over_axis(self, curve: Float[Array, "*parts times"]) -> Float[Array, "*parts times"]:
        """A curve per u as one per axis unit, such as ``-dL/da = -dL/du · du/da``; du/da = 1/a on the log scale."""
        return curve * jnp.asarray(self.grid.jacobian(self.grid.centres), jnp.float32)


@with_own_switches
def decompose(
    spectrum: Spectrum | Moments, *, weighting: Weighting = "count", outside: Outside = "own"
) -> Decomposition:
    """Split the derivative of the mean loss into learning times and one shared pulse.

    ``-dL/du ≈ (p * g)(u)``: p the distribution of learning times, g the mean centred pulse.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        weighting: every event counts alike (``"count"``, as in the source), or by its drop (``"drop"``).
        outside: how events outside the window enter p, g and p * g. ``"own"`` (default): not in p and g, but their own
            pulses, of which the window sees only an end, are added to the reconstruction; ``"edge"``: on the nearest
            edge of the window, with twice the drop that is seen inside it, since half a pulse on the edge is seen;
            ``"inside"``: not at all. The implied derivative has the visible part of all events, whatever the rule.

    Returns:
        `Decomposition`; all zero for a spectrum without events.

    Raises:
        ValueError: an unknown weighting or rule.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, decompose
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> parts = decompose(Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step))
        >>> area = [float(curve.sum() * parts.grid.width) for curve in (parts.spectrum, parts.pulse)]
        >>> round(area[0], 3), round(area[1], 1)
        (1.0, 6.0)

    Source: arXiv 2606.29858.
    """
    if weighting not in ("drop", "count"):
        raise ValueError(f"weighting: got {weighting!r}, expected 'drop' or 'count'")
    if outside not in ("edge", "own", "inside"):
        raise ValueError(f"outside: got {outside!r}, expected 'edge', 'own' or 'inside'")
    return _decompose(moments_of(spectrum), weighting, outside)


def moments_of(spectrum: Spectrum | Moments) -> Moments:
    """The moments of a spectrum, or those given."""
    return spectrum.moments() if isinstance(spectrum, Spectrum) else spectrum


def implied_drops(moments: Moments) -> Float[Array, " times"]:
    """Fall of the mean loss within each bin of the window, nat, from every event's own pulse."""
    net = moments.drop[0] - moments.drop[1]
    return moments.per_token * (spread(moments.grid, net[moments.grid.inside]) + _own_pulses(moments))


def _own_pulses(moments: Moments) -> Float[Array, " times"]:
    """What events outside the window add to each of its bins, nat, summed over tokens."""
    xp = module_of(moments.count)
    net = moments.drop[0] - moments.drop[1]
    number = moments.grid.outside_bins
    sides = xp.stack([net[:number][::-1], net[-number:]])
    table = xp.asarray(outside_table(moments.grid), xp.float32)
    return contracted("eds,edst->t", sides, table)


@compiled(static_argnums=(1, 2))
def _decompose(moments: Moments, weighting: Weighting, outside: Outside) -> Decomposition:
    xp = module_of(moments.count)
    grid = moments.grid
    number = grid.outside_bins
    count, drop = moments.count, moments.drop
    if weighting == "count":  # one part: all events alike, their drops with sign
        masses, heights = xp.sum(count, 0)[None], (drop[0] - drop[1])[None]
    else:
        masses, heights = drop, drop * xp.array([1.0, -1.0])[:, None, None]

    def early_and_late(cells):
        return xp.stack([xp.sum(cells[:, :number], 1), xp.sum(cells[:, -number:], 1)], 1)

    at_edges, pulses = xp.zeros((len(masses), 2)), xp.sum(heights[:, grid.inside], 1)
    if outside == "edge":
        doubled = 1.0 if weighting == "count" else 2.0
        at_edges = doubled * xp.sum(early_and_late(masses), -1)
        pulses = pulses + 2 * xp.sum(early_and_late(heights), 1)
    inside = xp.sum(masses[:, grid.inside], -1)
    total = xp.sum(inside, 1) + xp.sum(at_edges, 1)
    share = xp.where(total > 0, 1 / xp.maximum(total, 1e-30), 0)[:, None]
    weight = total * moments.per_token
    pulse = share * product(pulses, pulse_table(grid).astype(np.float32))

    # An event on an edge lies half in the bin before it and half in the bin after it.
    half = share * at_edges / 2
    ghosts = xp.pad(share * inside, ((0, 0), (1, 1)))
    edges = xp.concatenate([half[:, :1], half[:, :1], 0 * ghosts[:, 4:], half[:, 1:], half[:, 1:]], axis=1)
    ghosts = ghosts + edges
    longer = xp.pad(pulse, ((0, 0), (1, 1)))
    both = xp.stack([convolve(*pair) for pair in zip(ghosts, longer, strict=True)])
    convolved = xp.sum(weight[:, None] * both, 0)[1:-1]
    if outside == "own":
        convolved = convolved + moments.per_token * _own_pulses(moments)
    return Decomposition(
        spectrum=share * inside / grid.width,
        edges=share * at_edges,
        pulse=pulse / grid.width,
        weight=weight,
        convolved=convolved / grid.width,
        implied=implied_drops(moments) / grid.width,
        grid=grid,
    )
