"""Bands: how far a curve or number would move with other sequences of the same kind."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..jax_switches import with_own_switches
from ..pytrees import pytree, static
from .statistic import Spectrum

#: Replicates computed at once: enough to share the pass over the statistic, few enough to fit the cache.
AT_ONCE = 16


@pytree
class Bands:
    """A result and the band around it; all three have the structure of what was computed.

    Attributes:
        value: from all tokens.
        low: lower end of the band.
        high: upper end of the band.
    """

    value: Any
    low: Any
    high: Any


@with_own_switches
def bands(
    function: Callable[..., Any],
    spectrum: Spectrum,
    key: Array,
    *,
    sums: Any = None,
    replicates: int = 200,
    level: float = 0.9,
) -> Bands:
    """Percentile bands of any function of a spectrum by the Poisson bootstrap over groups of sequences.

    In each replicate every resample group of the spectrum counts Poisson(1) times. Groups are random sets of whole
    sequences (64 by default), since tokens of a sequence are not independent. Bands from fewer than some 30
    sequences are too narrow.

    Args:
        function: of a `Moments`, and of the sums if given; returns a pytree of arrays. It is compiled; pass the same
            function object again, not a new lambda, to have it compiled once.
        spectrum: what to resample.
        key: of `jax.random`.
        sums: a pytree of arrays with the resample groups as first axis, such as sums of losses, which are resampled
            together with the spectrum; the function gets them summed over that axis.
        replicates: number of replicates.
        level: fraction of the replicates inside the band.

    Returns:
        `Bands`. NaN of single replicates are left out; a band is NaN where all are.

    Raises:
        ValueError: replicates or level outside their range, or sums without the resample axis.

    Example:
        >>> import jax, jax.numpy as jnp, tsl_jax as tsl
        >>> from tsl_jax.spectrum import Spectrum, bands, decompose
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.geomspace(10.0, 100.0, 64)[:, None]) ** 2)
        >>> spectrum = Spectrum.from_fits(tsl.fit(tsl.Sigmoid(), step, losses), step)
        >>> band = bands(decompose, spectrum, jax.random.key(0), replicates=20)
        >>> bool(jnp.all(band.low.implied <= band.high.implied)), band.value.implied.shape
        (True, (512,))

    Source: Efron 1979; Poisson weights as in Hanley and MacGibbon 2006; percentiles as in `tail_fraction`.
    """
    for array in jax.tree.leaves(sums):
        if jnp.ndim(array) < 1 or len(array) != spectrum.grid.resamples:
            raise ValueError(
                f"sums: got shape {jnp.shape(array)}, expected the {spectrum.grid.resamples} resample groups of the "
                "spectrum as first axis"
            )
    given = () if sums is None else (sums,)
    return bands_of_sums(function, (spectrum.moments_by_resample(), *given), key, replicates=replicates, level=level)


def bands_of_sums(
    function: Callable[..., Any], sums: tuple[Any, ...], key: Array, *, replicates: int = 200, level: float = 0.9
) -> Bands:
    """`bands` of a function of any sums over tokens.

    Args:
        function: of as many arguments as there are ``sums``, each summed over its first axis.
        sums: pytrees of arrays with the resample groups as first axis.
        key, replicates, level: as in `bands`.

    Raises:
        ValueError: replicates or level outside their range.
    """
    check(replicates, level)
    return _bands(function, replicates, level, sums, key)


def check(replicates: int, level: float) -> None:
    """Raise for what `bands` refuses."""
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level!r}, expected a share between 0 and 1")


def tail_fraction(level: float, groups: int, replicates: int) -> float:
    """Share of the replicates to leave out on each side, for `jnp.quantile`, so that bands hold what they say.

    Percentiles of a bootstrap over n groups are too narrow by √((n-1)/n) and by the difference between Student's and
    the normal distribution; and the k-th of R replicates is the quantile k/(R+1).

    Source: Hesterberg 2015, "What teachers should know about the bootstrap", expanded percentile interval.
    """
    from scipy.special import ndtr, stdtrit

    fraction = float(ndtr(stdtrit(groups - 1, (1 - level) / 2) * (groups / (groups - 1)) ** 0.5))
    return max(0.0, ((replicates + 1) * fraction - 1) / (replicates - 1))


def poisson_weights(key: Array, replicates: int, groups: int) -> Float[Array, "replicates groups"]:
    """How often each resample group counts in each replicate: Poisson(1), from its distribution function.

    Args:
        key: of `jax.random`.
        replicates: number of replicates.
        groups: number of resample groups.
    """
    return _poisson_weights(key, replicates, groups)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _poisson_weights(key, replicates, groups):
    # Up to 11: larger numbers have together a probability below the spacing of float32 at 1.
    reached = np.cumsum([np.exp(-1) / math.factorial(k) for k in range(11)])
    uniform = jax.random.uniform(key, (replicates, groups))
    return jnp.sum(uniform[..., None] >= reached.astype(np.float32), -1).astype(jnp.float32)


def _bands(function, replicates, level, sums, key):
    groups = len(jax.tree.leaves(sums)[0])
    fraction = tail_fraction(level, groups, replicates)
    flat = _bands_of_weights(function, replicates, fraction, sums, poisson_weights(key, replicates, groups))
    return Bands(*(_restored(flat.structure, values) for values in (flat.value, flat.low, flat.high)))


@pytree
class _FlatBands:
    """`Bands` of a pytree as vectors: a program with three results compiles in a third of the time of one with 150."""

    value: Float[Array, " items"]
    low: Float[Array, " items"]
    high: Float[Array, " items"]
    structure: tuple = static()


def _restored(structure, values):
    tree, shapes = structure
    # As NumPy's, unless inside another jitted function: slicing on the device would compile a program a shape.
    array = values if isinstance(values, Tracer) else np.asarray(values)
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1].tolist()
    parts = (array[start:end] for start, end in zip([0, *ends], [*ends, len(array)], strict=True))
    return jax.tree.unflatten(
        tree, [jnp.asarray(part.reshape(shape)) for part, shape in zip(parts, shapes, strict=True)]
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _bands_of_weights(function, replicates, fraction, sums, drawn):
    groups = drawn.shape[1]
    # The value itself as the first replicate, and no shorter last batch: the function is compiled once.
    padding = jnp.ones((-(replicates + 1) % AT_ONCE, groups))
    weights = jnp.concatenate([jnp.ones((1, groups)), drawn, padding])
    structure = []

    def flat(replicate):
        leaves, tree = jax.tree.flatten(function(*replicate))
        structure[:] = [tree, tuple(jnp.shape(leaf) for leaf in leaves)]
        return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in leaves])

    def some(weight):
        def summed(array):
            return jnp.tensordot(weight, array.astype(jnp.float32), 1, precision=jax.lax.Precision.HIGHEST)

        # One after the other, not under `vmap`: the function may be anything, and a batched factorisation in it could
        # block for ever (see `one_at_a_time`). Only the sums, which read the whole statistic, are taken together.
        return jax.lax.map(flat, jax.tree.map(summed, sums))

    # All results as one table: one sort for all bands, which is quicker to compile than one for each array.
    results = jax.lax.map(some, weights.reshape(-1, AT_ONCE, groups))
    results = results.reshape(-1, results.shape[-1])
    low, high = _quantiles(results[1 : replicates + 1], (fraction, 1 - fraction))
    return _FlatBands(results[0], low, high, tuple(structure))


def _quantiles(values: Float[Array, "replicates items"], fractions: tuple[float, ...]) -> list[Float[Array, " items"]]:
    """Quantiles of what is not NaN, interpolated, as `jnp.nanquantile` has them, from one sort."""
    ordered = _sorted(values.T)
    last = jnp.sum(~jnp.isnan(values), 0) - 1
    found = []
    for fraction in fractions:
        place = fraction * jnp.maximum(last, 0)
        below = jnp.floor(place).astype(jnp.int32)
        ends = [jnp.take_along_axis(ordered, at[:, None], 1)[:, 0] for at in (below, jnp.minimum(below + 1, last))]
        between = place - below
        # Not as a sum of shares of both ends where they are the same, infinite ones too.
        found.append(jnp.where(ends[0] == ends[1], ends[0], (1 - between) * ends[0] + between * ends[1]))
    return [jnp.where(last >= 0, one, jnp.nan) for one in found]


def _sorted(values: Float[Array, "items replicates"]) -> Float[Array, "items replicates"]:
    """Rows in increasing order, NaN last: as integers of the same order, which the CPU sorts ten times as fast."""

    def flipped(bits):  # the numbers below zero, whose bits grow downwards
        return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)

    bits = jax.lax.bitcast_convert_type(jnp.where(jnp.isnan(values), jnp.nan, values), jnp.int32)
    ordered = jnp.sort(flipped(bits), axis=1, stable=False)
    return jax.lax.bitcast_convert_type(flipped(ordered), jnp.float32)
