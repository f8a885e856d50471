"""Position laws of known truth, one shape for all tests: 24 checkpoints, 32 positions."""

import jax
import jax.numpy as jnp
import numpy as np

STEP = np.geomspace(10.0, 1e4, 24)
POSITION = np.arange(1.0, 33.0)
#: Standard error of every position mean.
NOISE = 0.02
#: Amplitude and rate are constant from here on.
SEPARATION = 700.0
SEEDS = 64


def truth():
    """Amplitude, rate and floor, each (checkpoints,)."""
    before = np.maximum(np.log(SEPARATION / STEP), 0)
    return {"amplitude": 2.0 + 0.3 * before, "rate": 0.2 + 0.08 * before, "floor": 2.0 + 6.0 * STEP**-0.3}


def curves(params=None):
    """(checkpoints, positions) losses without noise."""
    params = {name: np.asarray(value)[..., None] for name, value in (params or truth()).items()}
    return params["amplitude"] / (1 + params["rate"] * POSITION) + params["floor"]


def noisy(seed, params=None, seeds=SEEDS):
    """(seeds, checkpoints, positions) losses with independent errors."""
    random = np.random.default_rng(seed)
    exact = curves(params)
    return (exact + NOISE * random.normal(size=(seeds, *exact.shape))).astype(np.float32)


def groups_of(key, groups, exact):
    """(groups, checkpoints, positions) means of groups of sequences, their errors correlated as in real data.

    Some is shared by all tokens of a group, some by all checkpoints of a token; both change slowly with training.
    """
    checkpoints, positions = exact.shape
    keys = jax.random.split(key, 3)
    drift = jnp.linspace(0.8, 1.2, checkpoints)[:, None]
    text = 0.3 * drift * jax.random.normal(keys[0], (groups, 1, 1))
    token = 0.15 * drift * jax.random.normal(keys[1], (groups, 1, positions))
    rest = 0.05 * jax.random.normal(keys[2], (groups, checkpoints, positions))
    return jnp.asarray(exact, jnp.float32) + text + token + rest


def spread_of_means(groups):
    """Standard error of the mean over groups at one position and checkpoint, as if known: `groups_of`."""
    drift = np.linspace(0.8, 1.2, len(STEP))[:, None]
    return np.sqrt(((0.3 * drift) ** 2 + (0.15 * drift) ** 2 + 0.05**2) / groups) * np.ones(len(POSITION))


def covered(found):
    """How often the interval of the separation point holds the planted one."""
    return np.mean((found.lower <= SEPARATION) & (found.upper >= SEPARATION))
