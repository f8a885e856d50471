"""Whether the native kernel does on this machine's GPU what XLA's does: tried on some planted curves.

Nobody has run every GPU, driver and compiler: so it is looked at where it is to be used, once for each of them, and
what agreed is kept in the user's cache folder.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..curves import Family
from .measures import Measures, measure
from .native.tried import has_agreed, keep_agreed
from .noise import assumed_noise
from .options import FitOptions
from .preparation import prepare
from .solution import model, solve

CURVES, CHECKPOINTS = 512, 40
#: So many of the curves may end in another minimum that is all but as good; so far (of the rss) it is the same one.
MOST_APART, SAME_RSS = 0.005, 2e-3
#: Sums over one solution's residuals differ by no more than this of their size, or of that of most curves; but where
#: columns depend on each other but for rounding, which is so in 3% of these curves.
SAME_SUMS, MOST_ROUGH = 1e-2, 0.06
NATIVE, XLA = FitOptions(kernel="native"), FitOptions(kernel="xla")


@functools.cache
def doubt_about_kernel(family: Family, backend: str) -> str | None:
    """Why the native kernel is not trusted to fit this family on the default device; None where it agrees with XLA's.

    The first time it compiles and runs both, which takes seconds; for one device, driver and build that is kept.
    """
    if has_agreed(family.name, backend):
        return None
    try:
        doubt = difference(family, NATIVE)
    except jax.errors.JaxRuntimeError as error:
        doubt = f"it failed where it was tried: {error}"
    if doubt is None:
        keep_agreed(family.name, backend)
    return doubt


def difference(family: Family, options: FitOptions) -> str | None:
    """In what the kernel of these options differs from XLA's on the default device, in words; None where they agree."""
    block, solution, measures = _found(family, XLA, *planted(family))
    _, theirs, _ = _found(family, options, *planted(family))
    rss, other = (np.asarray(_measured(family, XLA, block, s).rss) for s in (solution, theirs))
    floor = np.sum(np.asarray(block.weight * jnp.square(block.loss)), axis=0) * (8 * np.finfo(np.float32).eps) ** 2
    apart = ~(np.abs(other - rss) <= SAME_RSS * rss + floor)
    if np.mean(apart) > MOST_APART:
        return f"{np.mean(apart):.1%} of {CURVES} curves end elsewhere than with XLA"
    expected, sums = _sums(measures), _sums(_measured(family, options, block, solution))
    for name, value in sums.items():
        wanted = expected[name]
        size = np.abs(wanted) + np.nanmedian(np.abs(wanted), axis=-1, keepdims=True)
        same = (np.abs(value - wanted) <= SAME_SUMS * size) | (np.isnan(value) & np.isnan(wanted))
        other = np.mean(~np.all(same.reshape(-1, CURVES), axis=0))
        if other > MOST_ROUGH:
            return f"its {name} of {other:.0%} of {CURVES} curves is not that of XLA"
    return None


@functools.partial(jax.jit, static_argnums=(0, 1))
def _found(family: Family, options: FitOptions, x, losses, weights):
    block = prepare(family, options, x, losses, weights)[0]
    solution = solve(family, options, block)
    return block, solution, _measured(family, options, block, solution)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measured(family: Family, options: FitOptions, block, solution) -> Measures:
    return measure(family, options, assumed_noise("correlated", None, CHECKPOINTS, jnp.float32), block, solution)


def _sums(measures: Measures) -> dict[str, np.ndarray]:
    """What is measured, by name; of the two factors of a covariance, which rounding turns, their product."""
    sums = {name: np.asarray(value, float) for name, value in measures._asdict().items()}
    factor = sums.pop("factor")
    return {"covariance": np.einsum("iac,abc,jbc->ijc", factor, sums.pop("meat"), factor), **sums}


def planted(family: Family) -> tuple[jax.Array, np.ndarray, np.ndarray]:
    """x (checkpoints), losses and weights (curves, checkpoints): with noise of all sizes, gaps and unequal weights."""
    rng = np.random.default_rng(0)
    x = jnp.linspace(0, 1, CHECKPOINTS, dtype=jnp.float32)
    least, most = (np.asarray(bound)[:, None] for bound in family.bounds(x))
    theta = least + (most - least) * rng.uniform(0.2, 0.5, (len(least), CURVES))
    low = rng.uniform(0.5, 2, CURVES)
    coefficients = np.stack([low, low + rng.uniform(0.5, 5, CURVES), *theta]).astype(np.float32)
    clean = np.asarray(jax.vmap(functools.partial(model, family, x), in_axes=1)(jnp.asarray(coefficients)))
    losses = clean + 10 ** rng.uniform(-3, 0, (CURVES, 1)) * rng.normal(size=clean.shape)
    uneven = np.arange(CURVES)[:, None] % 4 == 0
    losses[uneven & (rng.random(clean.shape) < 0.1)] = np.nan
    weights = np.where(uneven, rng.uniform(0.5, 2, clean.shape), 1)
    return x, losses.astype(np.float32), weights.astype(np.float32)
