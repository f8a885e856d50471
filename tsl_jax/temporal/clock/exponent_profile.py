"""Profile likelihood of the time law's exponent: the best fit at each exponent, and where it gets too bad."""

import jax.numpy as jnp
from jax import lax

#: Exponents are searched within these; an end of an interval beyond them is given as 0 or infinity.
LEAST, MOST = 1e-3, 20.0
_BISECTIONS = 40


def profile_at(x, centred, weights, lowest, exponent):
    """Least rss over amplitude and floor for an exponent, the floor not below ``lowest``; and those two."""
    total = jnp.sum(weights)
    shape = jnp.exp(-exponent * x)
    mean = jnp.sum(weights * shape) / total
    along = jnp.sum(weights * (shape - mean) * centred) / jnp.sum(weights * (shape - mean) ** 2)
    floor = -along * mean
    held = jnp.where(jnp.isfinite(lowest), lowest, 0.0)
    along = jnp.where(floor < lowest, jnp.sum(weights * shape * (centred - held)) / jnp.sum(weights * shape**2), along)
    # Around the mean of the shape, which float32 resolves, the floor being that at the mean.
    level = jnp.where(floor < lowest, held + along * mean, 0.0)
    rss = jnp.sum(weights * (centred - level - along * (shape - mean)) ** 2)
    return rss, along, jnp.maximum(floor, lowest)


def exponent_interval(profile, exponent, most, limit):
    """Where the profile crosses ``limit`` below and above its minimum, by bisection in the log exponent."""

    def crossing(far):
        def halve(_, ends):
            inside, outside = ends
            middle = (inside + outside) / 2
            beyond = profile(jnp.exp(middle))[0] > limit
            return jnp.where(beyond, inside, middle), jnp.where(beyond, middle, outside)

        inside, outside = lax.fori_loop(0, _BISECTIONS, halve, (jnp.log(exponent), jnp.log(far)))
        return jnp.exp((inside + outside) / 2), profile(far)[0] > limit

    (lower, below), (upper, above) = crossing(jnp.asarray(LEAST, exponent.dtype)), crossing(most)
    return jnp.where(below, lower, 0.0), jnp.where(above, upper, jnp.inf)
