"""A small job for the pipeline's tests."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import Category, Fit, FitOptions, NoiseModel, Status, TooFewCurvesError, check_axis
from tsl_jax.jobs import fit_store
from tsl_jax.jobs.fit import fitter as device
from tsl_jax.jobs.fit import noise
from tsl_jax.store import create_losses, open_losses
from tsl_jax.stream import bytes_per_token


def cheap_fit(family, time, losses, weights=None, *, options=None, noise=None):
    """Stands in for the engine: a function of each row alone that compiles at once."""
    time = check_axis(family, time)
    rows = losses[..., losses.shape[-1] - len(time) :].astype(jnp.promote_types(losses.dtype, jnp.float32))
    finite = jnp.isfinite(rows)
    number = jnp.sum(finite, axis=-1, dtype=jnp.int32)
    mean = jnp.sum(jnp.where(finite, rows, 0), axis=-1) / jnp.maximum(number, 1)
    spread = jnp.sum(jnp.where(finite, jnp.square(rows - mean[..., None]), 0), axis=-1)
    usable = number > len(family.names)

    def known(values):
        return jnp.where(usable, values, jnp.nan)

    params = {name: known(mean + i + options.max_steps) for i, name in enumerate(family.names)}
    learned = jnp.where(mean > 4, 0.75, 0.25)
    probabilities = {"unlearned": 1 - learned, "learned": learned, "early": 0 * learned, "late": 0 * learned}
    return Fit(
        params=params,
        stderr={name: known(spread + i) for i, name in enumerate(family.names)},
        rss=known(spread),
        r2=known(1 / (1 + spread)),
        num_points=number,
        status=jnp.where(usable, Status.CONVERGED, Status.TOO_FEW_POINTS).astype(jnp.uint8),
        category=jnp.where(usable, mean > 4, Category.NONE).astype(jnp.uint8),
        constant=mean,
        noise_correlation=known(1 / (2 + spread) + (0 if noise is None else noise.lag_mean)),
        effective_points=known(number / (1 + spread)),
        probabilities={} if family.event is None else probabilities,
        second_event=None if family.event is None else known(1 / (3 + spread)),
        family=family,
    )


def cheap_noise_model(family, time, losses, weights=None, *, options, fitted=None):
    """Stands in for the estimate: a function of all losses that it is given."""
    time = check_axis(family, time)
    known = losses[:, losses.shape[1] - len(time) :]
    known = known[np.isfinite(known)]
    if len(losses) < 32 or not len(known):
        raise TooFewCurvesError
    level = np.asarray(np.mean(known, dtype=np.float64) / 16)
    return NoiseModel(time, np.ones(len(time)), np.full(len(time) - 1, level), level, level, level, level)


_cheap_compile = functools.lru_cache(device._compile.__wrapped__)


def use_cheap_engine(setattr=setattr):
    """Put `cheap_fit` in the place of the engine."""
    setattr(device, "fit", cheap_fit)
    setattr(device, "_compile", _cheap_compile)
    setattr(device, "made_from", lambda *parts: None)  # its programs are kept under no key: not that of the engine's
    setattr(noise, "model_of_sample", cheap_noise_model)


def with_path():
    """The environment of processes that find `small_job`, too."""
    folder = str(Path(__file__).parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}


STEPS = np.round(np.geomspace(1, 1000, 12))


@dataclasses.dataclass(frozen=True)
class Job:
    """A loss store and how to fit it in blocks of 64 tokens (chunks of 16, shards of 32)."""

    source: Any
    tokens: int = 150
    coordinates: bool = True

    def values(self, dtype="float16"):
        rng = np.random.default_rng(5)
        u = np.log(STEPS)
        middle, slope = rng.uniform(-1, 8, (self.tokens, 1)), rng.uniform(0.5, 5, (self.tokens, 1))
        losses = 2 + 6 / (1 + np.exp(np.minimum(slope * (u - middle), 80)))
        losses += rng.normal(0, 0.1, losses.shape)
        losses[rng.random(losses.shape) < 0.05] = np.nan
        losses[7:9] = np.nan
        return losses.astype(dtype)

    def write(self, dtype="float16", **options):
        index = np.arange(self.tokens)
        coordinates = {"domain": index.astype("int8") % 3, "token_id": index}
        return create_losses(
            self.source,
            self.values(dtype),
            checkpoints={"step": STEPS, "tokens_seen": STEPS * 4096},
            tokens=coordinates if self.coordinates else None,
            attributes={"domains": ["a", "b", "c"]},
            **({"chunk_tokens": 16, "shard_tokens": 32, "overwrite": True} | options),
        )

    def fit(self, target, family=None, **options):
        itemsize = open_losses(self.source).losses.dtype.itemsize
        memory = 64 * bytes_per_token(len(STEPS), itemsize, 68)  # 68 bytes of results and coordinates a token
        arguments = {"memory": memory, "options": FitOptions(block_size=32, max_steps=8)} | options
        return fit_store(self.source, target, family or Sigmoid(), **arguments)
