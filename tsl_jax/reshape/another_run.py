"""How likely an event lies within a window in a run of another seed, said from one run."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..fitting import has_parameters
from ..jax_switches import with_own_switches
from ..pytrees import pytree
from .scores import event_probability

#: Learning times of two runs scatter as Student's t of so many degrees of freedom: their tails are heavy.
_FREEDOM = 3.0
#: R² is taken for at least and at most this, the density of learning times for at least `_LEAST_DENSITY`.
_R2, _LEAST_DENSITY = (1e-3, 1 - 1e-4), 1e-4
#: Learning times are smoothed over this much of their logarithm, at places so far apart.
_SMOOTH, _SPACING = 0.25, 1 / 32


@dataclasses.dataclass(frozen=True)
class Repeats:
    """How events of one run are found again in a run of another seed.

    With p the density of learning times at an event (`EventDensity`) and s the standard error of its logarithm, an
    event *repeats* with probability ``σ(odds + by_fit·ln(R²/(1 - R²)) + by_density·ln p)``; learning times of the two
    runs then differ in ln(a) by ``sqrt(factor·s² + additive)·p^by_time`` times Student's t of 3 degrees of freedom. Of
    an event that does not repeat nothing is known: the token is learned in the other run with probability `anyway`, at
    a time that is any token's.

    Where learning times are rare, an event there is more often one that a run made by chance, and runs lie further
    apart: which is why p says more than the step.

    The defaults are the likeliest values for runs 0 and 1 of ``python -m benchmarks seeds``, rounded; runs 2 and 3, and
    those of another model, judge them.

    Attributes:
        odds: of an event that repeats, logarithm.
        by_fit: exponent of the odds R²/(1 - R²).
        by_density: exponent of p.
        factor: on s².
        additive: variance of ln(a).
        by_time: exponent of p in the scatter.
        anyway: probability of an event in the other run where this one's does not repeat.
    """

    odds: float = 0.1
    by_fit: float = 1.23
    by_density: float = 0.4
    factor: float = 0.034
    additive: float = 2.1e-4
    by_time: float = -0.73
    anyway: float = 0.43


@pytree
class EventDensity:
    """When a run's tokens are learned: of all tokens with a fit, those that are `LEARNED` by a loss that falls.

    Attributes:
        place: (places,) logarithms of times, increasing.
        before: (places,) fraction of the tokens that is learned before each.
        density: (places,) of ln(a), fraction of the tokens per unit.
    """

    place: Float[np.ndarray, " places"]
    before: Float[np.ndarray, " places"]
    density: Float[np.ndarray, " places"]

    @classmethod
    def of(cls, learning_time: ArrayLike, tokens: int) -> "EventDensity":
        """Learning times smoothed by a normal distribution of 0.25 in ln(a).

        Args:
            learning_time: (events,) of tokens that are learned, axis units; those at 0 or before are left out, as are
                those that are not finite.
            tokens: how many tokens they are of.

        Example:
            >>> round(float(EventDensity.of([100.0] * 3, 4).within((50.0, 200.0))), 2)
            0.75
        """
        time = np.asarray(learning_time, np.float64)
        u = np.log(time[(time > 0) & np.isfinite(time)])
        first, last = (np.floor(u.min()) - 2, np.ceil(u.max()) + 2) if len(u) else (0.0, 4.0)
        count, edges = np.histogram(u, round((last - first) / _SPACING), (first, last))
        near = _SPACING * np.arange(-round(4 * _SMOOTH / _SPACING), round(4 * _SMOOTH / _SPACING) + 1)
        kernel = np.exp(-0.5 * (near / _SMOOTH) ** 2)
        fraction = np.convolve(count, kernel / kernel.sum(), "same") / max(tokens, 1)
        before = np.concatenate([[0], np.cumsum(fraction)])
        density = np.interp(edges, (edges[1:] + edges[:-1]) / 2, fraction / _SPACING)
        return cls(*(np.asarray(values, np.float32) for values in (edges, before, density)))

    def at(self, time: ArrayLike) -> Float[Array, " tokens"]:
        """(tokens,) the density at times, axis units."""
        u = jnp.log(jnp.maximum(jnp.asarray(time, float), jnp.finfo(jnp.float32).tiny))
        return jnp.maximum(jnp.interp(u, self.place, self.density, left=0, right=0), _LEAST_DENSITY)

    def within(self, window: tuple[float, float]) -> Float[Array, ""]:
        """Fraction of the tokens that is learned within a window."""
        edges = [jnp.asarray(np.log(edge) if edge > 0 else -np.inf, jnp.float32) for edge in map(float, window)]
        start, end = (jnp.interp(edge, self.place, self.before, left=0) for edge in edges)
        return end - start


@with_own_switches
def another_run_probability(
    params: Mapping[str, ArrayLike],
    stderr: Mapping[str, ArrayLike],
    r2: ArrayLike,
    status: ArrayLike,
    unlearned: ArrayLike,
    window: tuple[float, float],
    density: EventDensity,
    *,
    between_runs: bool = False,
    scale: str = "log",
    repeats: Repeats = Repeats(),
) -> Float[Array, " tokens"]:
    """Probability that a token is learned within a window in a run of another seed.

    ``(1 - unlearned)·(r·P + (1 - r)·anyway·B)``: r the probability that the event repeats, P that it then lies within
    the window (`Repeats`), B the fraction of the learned tokens that is learned there.

    Args:
        params: as for `event_probability`.
        stderr: ``learning_time`` (axis units), (tokens,), NaN where it is not known.
        r2: (tokens,) of the fits.
        status: (tokens,) of the fits.
        unlearned: (tokens,) probability that there is no event; NaN where there is no fit.
        window: its start (not included) and end, axis units.
        density: when this run's tokens are learned.
        between_runs: whether ``stderr`` are errors between runs, as comparing runs finds them
            (`tsl_jax.with_run_components`); otherwise they are made so as runs of small transformers ask for.
        scale: ``"log"`` or ``"linear"``, that of the fits.
        repeats: how events repeat.

    Returns:
        (tokens,) probabilities, 0 where there is no fit and where losses rise.

    Raises:
        ValueError: an empty window, or one that starts below 0 on a log scale.

    Example:
        >>> from tsl_jax import Status
        >>> found = {"learning_time": [100.0, 100.0], "loss_drop": [2.0, 2.0]}
        >>> when = EventDensity.of([30.0] * 90 + [100.0] * 10, 200)
        >>> likely = another_run_probability(
        ...     found, {"learning_time": [1.0, 1.0]}, [0.99, 0.6], [Status.CONVERGED] * 2, [0.0, 0.0], (70, 150), when
        ... )
        >>> [round(float(one), 2) for one in likely]
        [0.96, 0.41]

    Source: two runs of ``python -m benchmarks seeds``; see the guide on several runs.
    """
    time, error = jnp.asarray(params["learning_time"], float), jnp.asarray(stderr["learning_time"], float)
    p = density.at(time)
    r2 = jnp.clip(jnp.nan_to_num(jnp.asarray(r2, float)), *_R2)
    repeated = jax.nn.sigmoid(
        repeats.odds + repeats.by_fit * (jnp.log(r2) - jnp.log1p(-r2)) + repeats.by_density * jnp.log(p)
    )
    if not between_runs:
        square = repeats.factor * jnp.square(error) + repeats.additive * jnp.square(time)
        error = jnp.where(error > 0, jnp.sqrt(square) * p**repeats.by_time, error)
    freedom = jnp.full(time.shape, _FREEDOM)
    known = {"freedom": freedom, "scale": scale}
    there = event_probability(params, {"learning_time": error}, status, unlearned, window, **known)
    counts = has_parameters(jnp.asarray(status)) & (jnp.asarray(params["loss_drop"]) > 0)
    event = jnp.where(counts, 1 - jnp.nan_to_num(jnp.asarray(unlearned, float), nan=1.0), 0)
    fraction = density.within(window) / jnp.maximum(density.before[-1], jnp.finfo(jnp.float32).tiny)
    return repeated * there + (1 - repeated) * event * repeats.anyway * fraction
