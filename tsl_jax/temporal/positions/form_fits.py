"""Many fits of candidate forms at once: from several starts, up to several origins, and what they predict."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...fitting import LeastSquaresFit, LeastSquaresOptions, has_parameters, least_squares
from ...linalg.known import any_traced, module_of, wide
from .forms import Form
from .host_forms import MOST_STEPS, fit_forms, names_of

_OPTIONS = LeastSquaresOptions(max_steps=MOST_STEPS)


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


def compare_forms(
    forms: tuple[Form, ...],
    x: Float[Array, " checkpoints"],
    counts: Bool[Array, "starts checkpoints"],
    known: Bool[Array, "origins checkpoints"],
    values: Float[Array, "*batch checkpoints"],
    weights: Float[Array, "*batch checkpoints"],
    covariates: PyTree,
) -> FormComparison:
    """Fits all forms from all starts, then picks a start by rolling-origin error: by JAX where it traces values."""
    arrays: Any = x, counts, known, values, weights, covariates
    if any_traced(*arrays):
        return _traced(forms, *arrays)
    dtype = jax.dtypes.canonicalize_dtype(jnp.promote_types(values.dtype, jnp.float32))
    arrays = jax.tree.map(wide, arrays)
    return _known(forms, dtype, *arrays)


def _known(forms: tuple[Form, ...], dtype, x, counts, known, values, weights, covariates) -> FormComparison:
    with np.errstate(all="ignore"):
        batch, values, weights = _rows(values, weights)
        number, none = len(values), np.zeros((1, len(x)))
        # Of no rows shapes are those of one without data, which is not kept.
        pair: Any = (values, weights) if number else (none, none)
        values, weights = pair
        data = [Data(x, *row, covariates) for row in zip(values, weights, strict=True)]
        masks: Any = _masks(counts, known)
        fits = fit_forms(forms, x, masks, values, weights, covariates)
        each = (jax.tree.map(lambda a, row=row: a[row], fits) for row in range(len(data)))
        rows = [_compare(forms, counts, known, *pair) for pair in zip(data, each, strict=True)]

        def joined(*a):
            a = np.stack(a)[:number].reshape((*batch, *np.shape(a[0])))
            return a.astype(dtype) if a.dtype == np.float64 else a

        return jax.tree.map(joined, *rows)


@functools.partial(jax.jit, static_argnums=0)
def _traced(forms: tuple[Form, ...], x, counts, known, values, weights, covariates) -> FormComparison:
    batch, values, weights = _rows(values, weights)

    def of_one(values, weights):
        data = Data(jnp.asarray(x, values.dtype), values, weights, covariates)
        return _compare(forms, counts, known, data, _fit_all(forms, _masks(counts, known), data))

    found = jax.vmap(of_one)(values, weights)
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), found)


def _rows(values, weights):
    """The batch's axes; values and weights as rows, the largest weight of each being 1."""
    xp = module_of(values)
    dtype = jnp.promote_types(values.dtype, jnp.float32)
    batch, checkpoints = values.shape[:-1], values.shape[-1]
    values = xp.where(weights > 0, values, 0).reshape(-1, checkpoints).astype(dtype)
    weights = weights.reshape(values.shape).astype(dtype)
    most = xp.max(weights, axis=-1, keepdims=True)
    return batch, values, weights / xp.maximum(most, np.finfo(dtype).tiny)


def _masks(counts, known) -> Bool[Array, "starts origins checkpoints"]:
    """What each fit knows; all checkpoints are one more "origin"."""
    xp = module_of(known)
    return counts[:, None] & xp.concatenate([known, xp.ones_like(known[:1])])


def _compare(forms: tuple[Form, ...], counts, known, data: Data, fitted) -> FormComparison:
    """Of one row, whose fits and values by them are (starts, origins, forms, ...)."""
    xp, names, masks = module_of(data.values), names_of(forms, data.x, data.covariates), _masks(counts, known)
    (fits, curves), size = fitted, max(map(len, names))
    errors = _prediction_errors(curves, masks, data)
    # An origin that knows too little for the largest form says nothing about any; a start must leave all others.
    enough = xp.sum(masks[:, :-1] & (data.weights > 0), axis=-1) > size
    judged = xp.any(enough, axis=0)
    errors = xp.where(enough[..., None], errors[:, :-1], xp.inf)
    square = xp.sum(xp.where(judged[:, None], xp.square(errors), 0), axis=1) / xp.sum(judged)
    rolling = xp.where(xp.isnan(square), xp.inf, xp.sqrt(square))
    # Errors below the rounding of the values are all the same: the earliest start of those.
    rounding = np.finfo(np.float32).eps * xp.max(xp.abs(data.values))
    start = xp.argmin(xp.maximum(xp.min(rolling, axis=1), rounding))

    chosen_start = jax.tree.map(lambda a: a[start, -1], fits)
    by_name = {form.name: _of_form(chosen_start, k, names[k]) for k, form in enumerate(forms)}
    aicc, bic = (xp.stack(each) for each in zip(*map(_criteria, by_name.values()), strict=True))
    return FormComparison(by_name, aicc, bic, rolling[start], errors[start].T, start)


def _fit_all(forms: tuple[Form, ...], masks: Bool[Array, "starts origins checkpoints"], data: Data):
    """All fits, (starts, origins, forms), and the values by each.

    Which form it is, is a number like any other data: one loop is compiled for all forms, not one for each. Parameters
    that a form does not have are there without effect.
    """
    names = names_of(forms, data.x, data.covariates)
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
        return fits, jax.vmap(residual, in_axes=(0, 0, None))(fits.params, numbers, jnp.zeros_like(data.values))

    return jax.vmap(jax.vmap(fit_forms))(jnp.where(masks, data.weights, 0))


def _prediction_errors(curves, masks, data: Data) -> Float[Array, "starts origins forms"]:
    """Of each fit at the checkpoints after those that it knew."""
    xp = module_of(data.values)
    number = xp.arange(len(data.x))
    latest = xp.max(xp.where(masks, number, -1), axis=-1, keepdims=True)
    later = xp.where(number > latest, data.weights, 0)[:, :, None]
    square = xp.sum(xp.where(later > 0, later * xp.square(curves - data.values), 0), -1) / xp.sum(later, -1)
    return xp.where(xp.isfinite(square), xp.sqrt(square), xp.inf)


def _of_form(fits: LeastSquaresFit, number: int, names: tuple[str, ...]) -> LeastSquaresFit:
    """One form's own fit, with the degrees of freedom of its own number of parameters."""
    xp = module_of(fits.rss)
    fit = jax.tree.map(lambda a: a[number], fits)
    size, all_sizes = len(names), fit.params.shape[-1]
    freer = xp.maximum(fit.num_points - all_sizes, 1) / xp.maximum(fit.num_points - size, 1)
    return LeastSquaresFit(
        params={name: fit.params[k] for k, name in enumerate(names)},
        stderr={name: xp.sqrt(freer) * fit.stderr[k] for k, name in enumerate(names)},
        covariance=freer * fit.covariance[:size, :size],
        rss=fit.rss,
        num_points=fit.num_points,
        status=fit.status,
        num_steps=fit.num_steps,
    )


def _criteria(fit: LeastSquaresFit) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """AICc and BIC of Gaussian errors of unknown size, which counts as a parameter."""
    xp, n = module_of(fit.rss), fit.num_points.astype(fit.rss.dtype)
    estimated = len(fit.params) + 1
    misfit = n * xp.log(xp.maximum(fit.rss, np.finfo(fit.rss.dtype).tiny) / n)
    spare = n - estimated - 1
    aicc = misfit + 2 * estimated + 2 * estimated * (estimated + 1) / xp.where(spare > 0, spare, 1)
    usable = has_parameters(fit.status) & (n > len(fit.params))  # a form that passes through all points tells nothing
    return xp.where(usable & (spare > 0), aicc, xp.inf), xp.where(usable, misfit + estimated * xp.log(n), xp.inf)
