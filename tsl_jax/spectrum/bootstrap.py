"""Bands: how far a curve or number would move with other sequences of the same kind."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .statistic import Spectrum

#: Replicates computed at once: enough to share the pass over the statistic, few enough to fit the cache.
_AT_ONCE = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
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
        level: share of the replicates inside the band.

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

    Source: Efron 1979; Poisson weights as in Hanley and MacGibbon 2006; percentiles as in `tail_share`.
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
    if replicates < 2:
        raise ValueError(f"replicates: got {replicates}, expected at least 2")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level!r}, expected a share between 0 and 1")
    return _bands(function, replicates, level, sums, key)


def tail_share(level: float, groups: int, replicates: int) -> float:
    """Share of the replicates to leave out on each side, for `jnp.quantile`, so that bands hold what they say.

    Percentiles of a bootstrap over n groups are too narrow by √((n-1)/n) and by the difference between Student's and
    the normal distribution; and the k-th of R replicates is the quantile k/(R+1).

    Source: Hesterberg 2015, "What teachers should know about the bootstrap", expanded percentile interval.
    """
    from scipy.special import ndtr, stdtrit

    share = float(ndtr(stdtrit(groups - 1, (1 - level) / 2) * (groups / (groups - 1)) ** 0.5))
    return max(0.0, ((replicates + 1) * share - 1) / (replicates - 1))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _bands(function, replicates, level, sums, key):
    groups = len(jax.tree.leaves(sums)[0])
    drawn = jax.random.poisson(key, 1.0, (replicates, groups)).astype(jnp.float32)
    # The value itself as the first replicate, and no shorter last batch: the function is compiled once.
    padding = jnp.ones((-(replicates + 1) % _AT_ONCE, groups))
    weights = jnp.concatenate([jnp.ones((1, groups)), drawn, padding])

    def some(weight):
        def summed(array):
            return jnp.tensordot(weight, array.astype(jnp.float32), 1, precision=jax.lax.Precision.HIGHEST)

        # One after the other, not under `vmap`: the function may be anything, and a batched factorisation in it could
        # block for ever (see `one_at_a_time`). Only the sums, which read the whole statistic, are taken together.
        return jax.lax.map(lambda replicate: function(*replicate), jax.tree.map(summed, sums))

    results = jax.lax.map(some, weights.reshape(-1, _AT_ONCE, groups))
    results = jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:]), results)
    share = tail_share(level, groups, replicates)
    low, high = (
        jax.tree.map(lambda values, at=at: jnp.nanquantile(values[1 : replicates + 1], at, axis=0), results)
        for at in (share, 1 - share)
    )
    return Bands(jax.tree.map(lambda values: values[0], results), low, high)
