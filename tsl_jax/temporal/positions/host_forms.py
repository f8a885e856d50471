"""Candidate forms fitted where values are known: a loop on the host around a program of the forms and their slopes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from ...fitting import LeastSquaresFit
from ...fitting.least_squares.on_host import fit_on_host
from .forms import Form

#: A fit that wanders on along a flat valley would keep all others waiting.
MOST_STEPS = 60


def names_of(forms: tuple[Form, ...], x, covariates) -> list[tuple[str, ...]]:
    """Of the parameters of each form, in their order."""
    one = jax.ShapeDtypeStruct(x.shape, jnp.float32)
    return [tuple(sorted(jax.eval_shape(form.start, one, one, one, covariates))) for form in forms]


def fit_forms(
    forms: tuple[Form, ...],
    x: Float[np.ndarray, " checkpoints"],
    masks: Bool[np.ndarray, "starts origins checkpoints"],
    values: Float[np.ndarray, "rows checkpoints"],
    weights: Float[np.ndarray, "rows checkpoints"],
    covariates: PyTree,
) -> tuple[LeastSquaresFit, Float[np.ndarray, "rows starts origins forms checkpoints"]]:
    """All fits, (rows, starts, origins, forms), and the values by each; parameters that a form lacks have no effect."""
    names = tuple(names_of(forms, x, covariates))
    size, shape = max(map(len, names)), (len(values), *masks.shape[:2])
    own = np.where(masks, weights[:, None, None], 0.0).reshape(-1, len(x))  # (problems of a form, checkpoints)
    goals = np.broadcast_to(values[:, None, None], (*shape, len(x))).reshape(-1, len(x))
    limits = [[list(side.values()) for side in form.limits(each)] for form, each in zip(forms, names, strict=True)]
    lower, upper = (
        np.array([[*form[side], *[0.0] * (size - len(form[side]))] for form in limits])[:, None] for side in (0, 1)
    )
    with jax.enable_x64(True):
        start = np.asarray(_starts(forms, names, x, goals, own, covariates))

        def curve(params):
            return jax.tree.map(np.asarray, _curves(forms, names, x, params, covariates))

        fits = fit_on_host(curve, start, goals, own, (lower, upper), max_steps=MOST_STEPS)
        found, _ = curve(np.asarray(fits.params))
    return jax.tree.map(lambda a: np.moveaxis(a, 0, 1).reshape(*shape, len(forms), *a.shape[2:]), (fits, found))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _starts(forms, names, x, values, weights, covariates) -> Float[Array, "forms problems p"]:
    size = max(map(len, names))

    def padded(form, own):
        def start(values, weights):
            found = form.start(x, values, weights, covariates)
            row = [jnp.asarray(found[name], x.dtype) for name in own]
            return jnp.stack([*row, *[jnp.zeros((), x.dtype)] * (size - len(row))])

        return jax.vmap(start)(values, weights)

    return jnp.stack([padded(form, own) for form, own in zip(forms, names, strict=True)])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _curves(forms, names, x, params, covariates):
    """Values (forms, problems, checkpoints) and their slopes (forms, problems, checkpoints, p)."""

    def both(form, own, params):
        def curve(q):
            return form.curve(dict(zip(own, q, strict=False)), x, covariates)

        def one(q):
            return curve(q), jax.jacfwd(curve)(q)

        return jax.vmap(one)(params)

    each = [both(form, own, params[k]) for k, (form, own) in enumerate(zip(forms, names, strict=True))]
    return tuple(jnp.stack(part) for part in zip(*each, strict=True))
