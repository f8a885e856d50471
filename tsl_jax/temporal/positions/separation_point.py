"""The separation point: from where on the position law's amplitude and rate stay constant."""

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ...fitting import Status
from ...jax_switches import with_own_switches
from ...linalg.known import any_traced, computed, module_of, product
from ...pytrees import pytree
from ..clock.training_axis import checked_axis
from .change_point import (
    COEFFICIENTS,
    best_start,
    candidates_of,
    profile,
    whitening_of,
)
from .law import PositionLaw
from .point_bounds import WhitenedLaw, change_by_noise, drawn_noise, point_interval, resampled_noise

#: Candidate separation points over the whole window, evenly spaced in ln(axis).
_CANDIDATES = 96
#: Fewest checkpoints with a determined rate; two numbers each, against 9 that are estimated.
_FEWEST = 8


@pytree
class Separation:
    """Where amplitude and rate become constant, with an interval.

    Attributes:
        point: the separation point, in axis units; at the last checkpoint it means "there or later", at `start` "there
            or earlier".
        lower: lower end of its interval.
        upper: upper end of its interval.
        reached: whether the whole interval lies before the last checkpoint; if not, the data do not show that
            amplitude and rate have stopped changing.
        change_p_value: of as large a change of amplitude and rate by noise alone. Where it exceeds 1 - `level`, no
            change is seen: `point` is `start` and the interval the whole window.
        amplitude: their constant value from `point` on, nat.
        rate: likewise, 1/position.
        amplitude_stderr: its standard error, given `point`.
        rate_stderr: likewise.
        candidates: separation points over the whole window, for a picture of the sum of squares.
        chi2: sum of squares, in standard errors, of the best fit with each of them.
        start: the first checkpoint that counted.
        num_checkpoints: checkpoints that counted; with fewer than 8 (under `vmap`, where none raises) the rest is NaN.
        replicates: the point of every replicate.
    """

    point: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    reached: Bool[Array, ""]
    change_p_value: Float[Array, ""]
    amplitude: Float[Array, ""]
    rate: Float[Array, ""]
    amplitude_stderr: Float[Array, ""]
    rate_stderr: Float[Array, ""]
    candidates: Float[Array, " candidates"]
    chi2: Float[Array, " candidates"]
    start: Float[Array, ""]
    num_checkpoints: Int[Array, ""]
    replicates: Float[Array, " replicates"]


@with_own_switches
def separation(
    axis: Float[Array, " checkpoints"],
    law: PositionLaw,
    replicates: PositionLaw | None = None,
    *,
    level: float = 0.9,
    start: float | None = None,
) -> Separation:
    """The point beyond which amplitude and rate are constant: least squares over a continuous change point.

        ``y(a) = y_end + b1·h + b2·h² + b3·h³,  h = max(ln(s/a), 0)``

    ``y = (amplitude/(1 + rate), rate/(1 + rate))`` keep nearly normal errors even where amplitude and rate apart are
    hardly determined: see `PositionLaw.coordinates`. ``s`` is shared; every checkpoint is weighted by the inverse
    of its 2x2 covariance. The interval is where the sum of squares exceeds its minimum by no more than noise makes it
    do at a point known to be true: in ``level`` of many curves made of the fit and resampled errors. These know that
    checkpoints share their tokens. Without replicates, errors are drawn (from a fixed seed) that are normal,
    independent between checkpoints, and as large as the scatter around the fit.

    Args:
        axis: (checkpoints,) increasing: steps, tokens, dynamic time; a checkpoint at 0 is left out.
        law: from `position_law`, of one run; only checkpoints with `Status.CONVERGED` count.
        replicates: from `resample_position_law`.
        level: probability that the interval covers the separation point.
        start: axis value before which checkpoints are left out. ``None`` (default): where the form above begins to
            hold, by BIC against constants of their own for all earlier checkpoints.

    Returns:
        `Separation`.

    Raises:
        ValueError: the axis does not increase or has another length than the law; fewer than 8 usable checkpoints;
            ``level`` is no probability.

    Example:
        >>> import jax.numpy as jnp
        >>> from tsl_jax.temporal import position_law, separation
        >>> step, position = jnp.geomspace(10.0, 1e4, 40), jnp.arange(1.0, 65.0)
        >>> rate = 0.2 + 0.1 * jnp.maximum(jnp.log(500 / step), 0)[:, None]  # constant from step 500 on
        >>> found = separation(step, position_law(position, 3 / (1 + rate * position) + 2.0, 0.01 + 0 * position))
        >>> bool(found.reached), round(float(found.rate), 2)
        (True, 0.2)

    Source: arXiv 2404.17785, which states the point; how it is estimated is this project's.
    """
    values = checked_axis(axis, _FEWEST)
    if law.status.shape != values.shape:
        raise ValueError(
            f"law: its arrays have shape {law.status.shape}, expected that of axis, {values.shape}: one run"
        )
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected a probability between 0 and 1")
    if not any_traced(law):
        law = jax.tree.map(np.asarray, law)
    usable = ((values > 0) & (values >= (start or 0))) & (law.status == Status.CONVERGED)
    usable &= module_of(law.covariance).all(module_of(law.covariance).isfinite(law.covariance), axis=(-1, -2))
    if not any_traced(usable) and int(usable.sum()) < _FEWEST:
        raise ValueError(
            f"law: amplitude and rate are determined at {int(usable.sum())} of {len(values)} checkpoints, expected at "
            f"least {_FEWEST}; measure more or later checkpoints, or more sequences"
        )
    u = np.log(np.where(values > 0, values, 1.0))
    again = None if replicates is None else replicates.coordinates()[0]
    y, covariance = law.coordinates()
    arrays = u, usable, y, covariance, level, again
    return computed(_separation, *arrays, dtype=y.dtype, find_start=start is None)


def _separation(u, usable, y, covariance, level, others, find_start) -> Separation:
    xp = module_of(y)
    u = xp.asarray(u, y.dtype)
    whitening = whitening_of(covariance, usable)
    centre = xp.sum(xp.where(usable[:, None], y, 0), axis=0) / xp.sum(usable)  # keeps float32's digits
    own = product("cij,cj->ci", whitening, xp.where(usable[:, None], y - centre, 0))
    if find_start:
        usable &= u >= best_start(u, usable, whitening, own, _FEWEST)
        whitening, own = xp.where(usable[:, None, None], whitening, 0), xp.where(usable[:, None], own, 0)
    data = WhitenedLaw(u, whitening, own)
    candidates = candidates_of(u, usable, _CANDIDATES)
    chi2 = profile(u, candidates, whitening, own[..., None]).chi2[:, 0]
    scatter = xp.min(chi2) / (2 * xp.sum(usable) - COEFFICIENTS - 1)
    noise = drawn_noise(scatter, whitening) if others is None else resampled_noise(whitening, others - y)
    p_value, constants = change_by_noise(data, candidates, noise)
    changes = p_value <= 1 - level
    point = point_interval(data, candidates, chi2, noise, level, 4 * scatter)

    first, last = xp.min(u, where=usable, initial=xp.inf), candidates[-1]
    upper = xp.where(changes, point.upper, last)
    fastest = xp.max(y[:, 1], where=usable, initial=-xp.inf)
    end = xp.where(changes, point.end, constants)
    amplitude, rate, errors = _parameters(end[0] + centre, xp.cov(end[1:].T), fastest)
    enough = xp.sum(usable) >= _FEWEST
    found = Separation(
        point=xp.exp(xp.where(changes, point.best, first)),
        lower=xp.exp(xp.where(changes, point.lower, first)),
        upper=xp.exp(upper),
        reached=enough & (upper < last - (last - candidates[-2]) / 10),
        change_p_value=p_value,
        amplitude=amplitude,
        rate=rate,
        amplitude_stderr=errors[0],
        rate_stderr=errors[1],
        candidates=xp.exp(candidates),
        chi2=chi2,
        start=xp.exp(first),
        num_checkpoints=xp.sum(usable),
        replicates=xp.exp(point.replicates),
    )
    return jax.tree.map(lambda a: xp.where(enough, a, xp.nan) if a.dtype == y.dtype else a, found)


def _parameters(end, error, fastest):
    """Amplitude, rate and their errors from the constants of both coordinates; the rate stays within those seen."""
    xp = module_of(end)
    turn = xp.clip(end[1], 0, fastest)
    amplitude, rate = end[0] / (1 - turn), turn / (1 - turn)
    slopes = xp.array([[1, amplitude], [0, 1 / (1 - turn)]]) / (1 - turn)
    errors = xp.sqrt(xp.diag(product("ij,jk,lk->il", slopes, error, slopes)))
    return amplitude, rate, errors
