"""Many fits of candidate forms at once: from several starts, up to several origins, and what they predict."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...fitting import LeastSquaresFit, LeastSquaresOptions, has_parameters, least_squares
from .forms import Form

#: A fit that wanders on along a flat valley would keep all others waiting.
_OPTIONS = LeastSquaresOptions(max_steps=60)


class Data(NamedTuple):
    """One parameter's course: what forms are fitted to."""

    x: Float[Array, " checkpoints"]
    values: Float[Array, " checkpoints"]
    weights: Float[Array, " checkpoints"]
    covariates: PyTree


class FormComparison(NamedTuple):
    """What `tsl_jax.temporal.Evolution` says of the forms, at the start (a number) with the least rolling error."""

    fits: dict[str, LeastSquaresFit]
    aicc: Float[Array, "*batch forms"]
    bic: Float[Array, "*batch forms"]
    rolling_error: Float[Array, "*batch forms"]
    origin_error: Float[Array, "*batch forms origins"]
    start: Int[Array, "*batch"]


@functools.partial(jax.jit, static_argnums=0)
def compare_forms(
    forms: tuple[Form, ...],
    x: Float[Array, " checkpoints"],
    counts: Bool[Array, "starts checkpoints"],
    known: Bool[Array, "origins checkpoints"],
    values: Float[Array, "*batch checkpoints"],
    weights: Float[Array, "*batch checkpoints"],
    covariates: PyTree,
) -> FormComparison:
    """Fits all forms from all starts, then picks a start by rolling-origin error."""
    dtype = jnp.promote_types(values.dtype, jnp.float32)
    batch, checkpoints = values.shape[:-1], values.shape[-1]
    values = jnp.where(weights > 0, values, 0).reshape(-1, checkpoints).astype(dtype)
    weights = weights.reshape(values.shape).astype(dtype)
    weights = weights / jnp.maximum(jnp.max(weights, axis=-1, keepdims=True), jnp.finfo(dtype).tiny)

    def of_one(values, weights):
        return _compare(forms, counts, known, Data(jnp.asarray(x, dtype), values, weights, covariates))

    found = jax.vmap(of_one)(values, weights)
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), found)


def _compare(forms: tuple[Form, ...], counts, known, data: Data) -> FormComparison:
    names = [tuple(sorted(jax.eval_shape(form.start, *data))) for form in forms]
    size = max(map(len, names))
    # All checkpoints are one more "origin".
    masks = counts[:, None] & jnp.concatenate([known, jnp.ones_like(known[:1])])
    fits, errors = _fit_all(forms, names, masks, data)
    # An origin that knows too little for the largest form says nothing about any; a start must leave all others.
    enough = jnp.sum(masks[:, :-1] & (data.weights > 0), axis=-1) > size
    judged = jnp.any(enough, axis=0)
    errors = jnp.where(enough[..., None], errors[:, :-1], jnp.inf)
    square = jnp.sum(jnp.where(judged[:, None], jnp.square(errors), 0), axis=1) / jnp.sum(judged)
    rolling = jnp.where(jnp.isnan(square), jnp.inf, jnp.sqrt(square))
    start = jnp.argmin(jnp.min(rolling, axis=1))

    chosen_start = jax.tree.map(lambda a: a[start, -1], fits)
    by_name = {form.name: _of_form(chosen_start, k, names[k]) for k, form in enumerate(forms)}
    aicc, bic = (jnp.stack(each) for each in zip(*map(_criteria, by_name.values()), strict=True))
    return FormComparison(by_name, aicc, bic, rolling[start], errors[start].T, start)


def _fit_all(forms: tuple[Form, ...], names, masks: Bool[Array, "starts origins checkpoints"], data: Data):
    """All fits, (starts, origins, forms), and the error of each at the checkpoints that it did not know.

    Which form it is, is a number like any other data: one loop is compiled for all forms, not one for each. Parameters
    that a form does not have are there without effect.
    """
    size = max(map(len, names))

    def padded(params, form_names, filler=0.0):
        row = [jnp.asarray(params[name], data.x.dtype) for name in form_names]
        return jnp.stack([*row, *[jnp.asarray(filler, data.x.dtype)] * (size - len(row))])

    def curve_of(form: Form, form_names):
        return lambda q: form.curve(dict(zip(form_names, q, strict=False)), data.x, data.covariates)

    curves = [curve_of(form, own) for form, own in zip(forms, names, strict=True)]
    limits = [[padded(side, own) for side in form.limits(own)] for form, own in zip(forms, names, strict=True)]
    lower, upper = (jnp.stack(side) for side in zip(*limits, strict=True))

    def residual(q, number, values):
        return jax.lax.switch(number, curves, q) - values

    def fit(start, number, weights):
        bounds = (lower[number], upper[number])
        return least_squares(residual, start, number, data.values, bounds=bounds, weights=weights, options=_OPTIONS)

    def fit_forms(weights):
        known = data._replace(weights=weights)
        starts = [padded(form.start(*known), own) for form, own in zip(forms, names, strict=True)]
        numbers = jnp.arange(len(forms))
        fits = jax.vmap(fit, in_axes=(0, 0, None))(jnp.stack(starts), numbers, weights)
        off = jax.vmap(residual, in_axes=(0, 0, None))(fits.params, numbers, data.values)
        return fits, off

    fits, off = jax.vmap(jax.vmap(fit_forms))(jnp.where(masks, data.weights, 0))
    latest = jnp.max(jnp.where(masks, jnp.arange(len(data.x)), -1), axis=-1, keepdims=True)
    later = jnp.where(jnp.arange(len(data.x)) > latest, data.weights, 0)[:, :, None]
    square = jnp.sum(jnp.where(later > 0, later * jnp.square(off), 0), -1) / jnp.sum(later, -1)
    return fits, jnp.where(jnp.isfinite(square), jnp.sqrt(square), jnp.inf)


def _of_form(fits: LeastSquaresFit, number: int, names: tuple[str, ...]) -> LeastSquaresFit:
    """One form's own fit, with the degrees of freedom of its own number of parameters."""
    fit = jax.tree.map(lambda a: a[number], fits)
    size, all_sizes = len(names), fit.params.shape[-1]
    freer = jnp.maximum(fit.num_points - all_sizes, 1) / jnp.maximum(fit.num_points - size, 1)
    return LeastSquaresFit(
        params={name: fit.params[k] for k, name in enumerate(names)},
        stderr={name: jnp.sqrt(freer) * fit.stderr[k] for k, name in enumerate(names)},
        covariance=freer * fit.covariance[:size, :size],
        rss=fit.rss,
        num_points=fit.num_points,
        status=fit.status,
        num_steps=fit.num_steps,
    )


def _criteria(fit: LeastSquaresFit) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """AICc and BIC of Gaussian errors of unknown size, which counts as a parameter."""
    n = fit.num_points.astype(fit.rss.dtype)
    estimated = len(fit.params) + 1
    misfit = n * jnp.log(jnp.maximum(fit.rss, jnp.finfo(fit.rss.dtype).tiny) / n)
    spare = n - estimated - 1
    aicc = misfit + 2 * estimated + 2 * estimated * (estimated + 1) / jnp.where(spare > 0, spare, 1)
    usable = has_parameters(fit.status) & (n > len(fit.params))  # a form that passes through all points tells nothing
    return jnp.where(usable & (spare > 0), aicc, jnp.inf), jnp.where(usable, misfit + estimated * jnp.log(n), jnp.inf)
