"""Forecast of one run as a mixture of laws: their posteriors, their weights from rolling origins, and drawn paths."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .law_posterior import PriorNumbers, Rows, posterior
from .paths import draw, picked

#: Paths drawn for each prediction of a rolling origin.
_PATHS = 128


class MixedForecast(NamedTuple):
    """What `mixed_forecast` finds.

    Attributes:
        paths: drawn courses of the loss at the rows of the forecast, nat.
        weight: of every law; they add up to 1.
        rolling_error: of every law, root mean square error of its predictions within the seen part, nat.
        gain_known: how much of the gain's uncertainty the seen part has removed.
    """

    paths: Float[Array, "paths later"]
    weight: Float[Array, " laws"]
    rolling_error: Float[Array, " laws"]
    gain_known: Float[Array, ""]


@functools.partial(jax.jit, static_argnums=(7, 8))
def mixed_forecast(
    rows: Rows,
    loss: Float[Array, " rows"],
    masks: Float[Array, "starts origins rows"],
    log_laws: Float[Array, " laws"],
    prior: PriorNumbers,
    key: Array,
    own_key: Array,
    paths: int,
    seen: int,
) -> MixedForecast:
    """Posterior of every law, start and origin; weights from the origins; paths from all rows.

    One run; runs, which all have the same number of rows and laws, are batched by `vmap`.

    Args:
        rows: clocks and responses of all laws, at the seen rows and then at those of the forecast.
        loss: losses, nat; those after the seen part have no influence.
        masks: 1 for the rows known at each origin, of which the last knows the whole seen part.
        log_laws: logarithms of the laws' weights before any data.
        prior: what is likely before the run was seen.
        key: random key for what runs of one family share, and for the choice of laws.
        own_key: random key for what is this run's own.
        paths: how many paths to draw (static).
        seen: how many of the first rows may be seen (static).
    """
    known = masks[..., :seen]
    early = Rows(rows.log_clock[:, :seen], rows.response[..., :seen], rows.log_kernel)

    def at_mask(law: Rows, mask):
        return posterior(law, loss[:seen], mask, prior)

    over_origins = jax.vmap(at_mask, in_axes=(None, 0))
    over_starts = jax.vmap(over_origins, in_axes=(None, 0))
    found = jax.vmap(over_starts, in_axes=(0, None))(early, known)
    keys = jax.random.split(key)
    score, square = _scores(found, early, loss[:seen], masks[..., :seen], keys[0])
    weight = jax.nn.softmax((score + log_laws[:, None]).reshape(-1))
    by_law = weight.reshape(score.shape).sum(axis=1)
    fraction = weight.reshape(score.shape) / by_law[:, None]
    whole = jax.tree.map(lambda a: a[:, :, -1].reshape(-1, *a.shape[3:]), found)
    later = Rows(rows.log_clock[:, seen:], rows.response[..., seen:], rows.log_kernel)
    drawn = _mixture(whole, later, weight, masks.shape[0], keys[1], own_key, paths)
    return MixedForecast(
        paths=drawn,
        weight=by_law,
        rolling_error=jnp.sqrt(jnp.sum(fraction * square, axis=1)),
        gain_known=1 - _gain_std(whole, weight) / prior.gain_std,
    )


def _scores(found, rows: Rows, loss, masks, key):
    """Mean log density of what each law and start did not know at each origin, and mean squares of its errors.

    Judged at three places: the last seen row, and those between it and the origin at thirds of the way. Errors along
    one path are close to one error, so that each origin counts as one observation.
    """
    seen = masks[0, -1]
    last = jnp.argmax(jnp.where(seen > 0, jnp.arange(len(loss)), -1))
    origin = jnp.argmax(jnp.where(masks[0, :-1] > 0, jnp.arange(len(loss)), -1), axis=-1)
    places = jnp.stack([origin + (last - origin) // 3, origin + 2 * (last - origin) // 3, last + 0 * origin], axis=-1)

    def of_one(found, law: Rows, places):
        there = law._replace(log_clock=law.log_clock[places], response=law.response[:, places])
        shared, own = jax.random.split(key)
        drawn = draw(found, there, shared, own, _PATHS)
        centre, std = drawn.mean(axis=0), drawn.std(axis=0) + 1e-4
        error = loss[places] - centre
        return jnp.mean(-0.5 * jnp.square(error / std) - jnp.log(std)), jnp.mean(jnp.square(error))

    earlier = jax.tree.map(lambda a: a[:, :, :-1], found)
    over = jax.vmap(of_one, in_axes=(0, None, 0))
    over = jax.vmap(over, in_axes=(0, None, None))
    density, square = jax.vmap(over, in_axes=(0, 0, None))(earlier, rows, places)
    return jnp.sum(density, axis=-1), jnp.mean(square, axis=-1)


def _mixture(whole, rows: Rows, weight, starts: int, key, own_key, paths: int):
    """Paths from all laws and starts, each as often as its weight says."""
    keys = jax.random.split(key, 2)
    chosen = picked(weight, jax.random.uniform(keys[0], (paths,)))

    def one(candidate, key, own_key):
        found = jax.tree.map(lambda a: a[candidate], whole)
        law = jax.tree.map(lambda a: a[candidate // starts], rows)
        return draw(found, law, key, own_key, 1)[0]

    each = chosen, jax.random.split(keys[1], paths), jax.random.split(own_key, paths)
    return jax.lax.map(lambda triple: one(*triple), each, batch_size=100)


def _gain_std(whole, weight):
    """Standard deviation of the gain over all laws that have one."""
    fraction = weight[:, None, None, None, None, None] * jnp.exp(whole.log_weight)
    mean = jnp.sum(fraction * whole.mean[..., 3])
    own = jnp.sum(jnp.square(whole.factor[..., 3, :]), axis=-1)
    return jnp.sqrt(jnp.sum(fraction * (own + jnp.square(whole.mean[..., 3] - mean))))
