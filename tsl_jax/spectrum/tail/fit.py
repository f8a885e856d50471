"""The tail of the learning times: a power law where events are seen well enough to be placed."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...jax_switches import with_own_switches
from ...pytrees import pytree
from ..decomposition import Weighting, moments_of
from ..grid import SpectrumGrid
from ..statistic import Moments, Spectrum
from .masses import Cuts, tail_masses
from .models import law_on_bins

#: Places at which the lower cut is tried; the least number of bins of a tail; and its least length in ln(a) (half of
#: what the window has, where that is less): over less than a factor of e any law looks like a power.
_CANDIDATES, _LEAST_BINS, _LEAST_SPAN = 48, 8, 1.0


@pytree
class Tail:
    """Power law ``p(a) ∝ a^-exponent`` between two axis values, of events inside the window whose loss falls.

    All NaN but ``events``, the most that any tail had, where none had enough of them.

    Attributes:
        exponent: γ.
        stderr: its standard error from the Fisher information, for independent tokens and a given cut; tokens of
            a sequence are not independent, so prefer the exponent's `bands`.
        lower, upper: the tail's ends, axis units.
        events: events in it; weighted by drop, as many equal ones as would fluctuate as much.
        fraction: of the falling events (or drops) inside the window.
        distance: greatest difference between cumulative distributions of data and law (Kolmogorov-Smirnov).
        mass: events (or drops, nat) in the tail, per token of the mean loss.
    """

    exponent: Float[Array, ""]
    stderr: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    events: Float[Array, ""]
    fraction: Float[Array, ""]
    distance: Float[Array, ""]
    mass: Float[Array, ""]


@with_own_switches
def fit_tail(
    spectrum: Spectrum | Moments,
    *,
    lower: float | None = None,
    upper: float | None = None,
    weighting: Weighting = "count",
    seen: float = 0.9,
    least_events: int = 50,
) -> Tail:
    """Fit ``p(a) ∝ a^-γ`` to the late part of the spectrum by maximum likelihood on its bins.

    Args:
        spectrum: a `Spectrum`, or the `Moments` of one or of a replicate.
        lower: axis value at which the tail starts. By default the cut with the smallest Kolmogorov-Smirnov distance
            between the tail and its law, among tails over at least a factor of e.
        upper: axis value at which it ends. By default where the fraction ``seen`` of a mean pulse still lies inside the
            window: fits lose events near the end of the data, which would make the tail look steeper than it is.
        weighting: count events, or add up their drops.
        seen: see ``upper``.
        least_events: a tail has at least so many events.

    Returns:
        `Tail`.

    Raises:
        ValueError: cuts that are not positive, do not increase, or leave fewer than 2 bins; an unknown weighting; or
            ``seen`` outside 0.5 to 1.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, fit_tail
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> centres = 10.0 * jnp.linspace(0.008, 0.992, 64)[:, None] ** (-1 / 1.5)  # p(a) ∝ a^-2.5 from 10
        >>> losses = 1.0 + 6.0 / (1.0 + (step / centres) ** 4)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> round(float(fit_tail(spectrum, lower=10.0, upper=200.0).exponent), 1)
        2.5

    Source: Clauset, Shalizi and Newman 2009, for binned and truncated data.
    """
    if weighting not in ("drop", "count"):
        raise ValueError(f"weighting: got {weighting!r}, expected 'drop' or 'count'")
    moments = moments_of(spectrum)
    cuts = cuts_of(moments.grid, lower, upper, seen, least_events)
    return fit_cut_tail(moments, cuts, weighting)


def cuts_of(grid: SpectrumGrid, lower, upper, seen: float, least_events: int) -> Cuts:
    """Checked cuts as whole bins."""
    for name, value in (("lower", lower), ("upper", upper)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}: got {value!r}, expected a positive axis value")
    if not 0.5 <= seen < 1:
        raise ValueError(f"seen: got {seen!r}, expected a share of at least 0.5 and below 1")
    edges, least = grid.axis(grid.edges), least_bin(grid)
    first = None if lower is None else max(int(np.searchsorted(edges, lower * (1 - 1e-6))), least)
    stop = None if upper is None else int(np.searchsorted(edges, upper * (1 + 1e-6), side="right")) - 1
    if (grid.time_bins if stop is None else stop) - (least if first is None else first) < 2:
        raise ValueError(
            f"lower, upper: got {lower!r} and {upper!r}, which leave fewer than 2 of the spectrum's bins from "
            f"{edges[least]:g} to {edges[-1]:g}"
        )
    return Cuts(
        first=None if first is None else jnp.asarray(first, jnp.int32),
        stop=None if stop is None else jnp.asarray(stop, jnp.int32),
        seen=jnp.asarray(seen, jnp.float32),
        least_events=jnp.asarray(least_events, jnp.float32),
    )


def default_cuts(grid: SpectrumGrid) -> Cuts:
    """The cuts of `fit_tail` where nothing is asked for."""
    return cuts_of(grid, None, None, 0.9, 50)


def least_bin(grid: SpectrumGrid) -> int:
    """The first bin that a tail may have: on a linear scale a power law needs a > 0 and bins narrow in ln(a)."""
    if grid.scale == "log":
        return 0
    return int(np.searchsorted(grid.edges, 8 * grid.width))


def log_axis(grid: SpectrumGrid) -> tuple[np.ndarray, np.ndarray]:
    """ln(a / a_last) at the bins' centres, and the log of the bins' widths in ln(a)."""
    if grid.scale == "log":
        return grid.centres - grid.edges[-1], np.full(grid.time_bins, np.log(grid.width))
    centres = np.maximum(grid.centres, 1e-30 * grid.width)
    return np.log(centres / grid.edges[-1]), np.log(grid.width / centres)


@functools.partial(jax.jit, static_argnums=2)
def fit_cut_tail(moments: Moments, cuts: Cuts, weighting: Weighting) -> Tail:
    """`fit_tail` with checked cuts."""
    return fit_cut_tails(moments, cuts, (weighting,))[weighting]


def fit_cut_tails(
    moments: Moments, cuts: Cuts, weightings: tuple[Weighting, ...] = ("count", "drop")
) -> dict[str, Tail]:
    """`fit_tail` for several weightings in one program."""
    masses, per_mass, stop, per_token = tail_masses(moments, cuts, weightings)
    tails = jax.vmap(lambda mass, per: tail_of_masses(moments.grid, mass, per, stop, cuts))(masses, per_mass)
    tails = dataclasses.replace(tails, mass=tails.mass * per_token)
    return {name: jax.tree.map(lambda v, i=i: v[i], tails) for i, name in enumerate(weightings)}


def tail_of_masses(grid: SpectrumGrid, masses, per_mass, stop, cuts: Cuts) -> Tail:
    """The tail of masses on the window's bins, with the best of the cuts where none is given."""
    y, log_width = (jnp.asarray(values, jnp.float32) for values in log_axis(grid))
    least = least_bin(grid)
    if cuts.first is not None:
        firsts = cuts.first[None]
        allowed = firsts < stop - 1
    else:
        firsts = jnp.asarray(np.unique(np.linspace(least, grid.time_bins - 1, _CANDIDATES).astype(int)))
        last = y[jnp.maximum(stop - 1, 0)]
        span = last - y[firsts]
        allowed = (span >= jnp.minimum(_LEAST_SPAN, (last - y[least]) / 2)) & (stop - firsts >= _LEAST_BINS)
    tails = jax.vmap(lambda first: _one_tail(grid, y, log_width, masses, per_mass, first, stop))(firsts)
    usable = allowed & (tails.events >= cuts.least_events) & jnp.isfinite(tails.exponent)
    best = jnp.argmin(jnp.where(usable, tails.distance, jnp.inf))
    chosen = jax.tree.map(lambda values: values[best], tails)
    nothing = dataclasses.replace(
        jax.tree.map(lambda _: jnp.nan, chosen), events=jnp.max(jnp.where(allowed, tails.events, 0))
    )
    return jax.tree.map(lambda a, b: jnp.where(jnp.any(usable), a, b), chosen, nothing)


def _one_tail(grid, y, log_width, masses, per_mass, first, stop) -> Tail:
    index = jnp.arange(grid.time_bins)
    tail = (index >= first) & (index < stop)
    log_p, theta = law_on_bins("power law", masses, y, log_width, tail)
    p = jnp.where(tail, jnp.exp(log_p), 0)
    total = jnp.sum(jnp.where(tail, masses, 0))
    events = total * per_mass
    variance = jnp.sum(p * jnp.square(y - jnp.sum(p * y)))
    edges = jnp.asarray(grid.axis(grid.edges), jnp.float32)
    found = (total > 0) & (variance > 0)
    return Tail(
        exponent=jnp.where(found, 1 - theta[0], jnp.nan),
        stderr=jnp.where(found, 1 / jnp.sqrt(jnp.maximum(events * variance, 1e-30)), jnp.nan),
        lower=edges[first],
        upper=edges[stop],
        events=events,
        fraction=total / jnp.maximum(jnp.sum(masses), 1e-30),
        distance=ks_distance(masses, p, tail),
        mass=total,
    )


def ks_distance(masses, p, tail: Bool[Array, " bins"]) -> Float[Array, ""]:
    """Greatest difference between the cumulative distributions of masses and probabilities in a tail."""
    inside = jnp.where(tail, masses, 0)
    fraction = inside / jnp.maximum(jnp.sum(inside), 1e-30)
    return jnp.max(jnp.abs(jnp.cumsum(fraction) - jnp.cumsum(p)))
