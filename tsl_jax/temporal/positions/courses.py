"""How the position law's parameters evolve over training: candidate forms, fitted and compared."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ...arguments import real_array
from ...curves import jax_array
from ...fitting import LeastSquaresFit
from ...fitting.checks import as_known
from ...jax_switches import with_own_switches
from ...linalg.known import any_traced, module_of
from ...pytrees import pytree, static
from ..clock.training_axis import checked_axis
from .form_fits import compare_forms
from .forms import FORMS, Form

#: What a form may be chosen by.
CRITERIA = ("rolling_origin", "aicc", "bic")
#: Origins of predictions lie between these fractions of the axis.
_FIRST_ORIGIN, _LAST_ORIGIN = 0.3, 0.9
#: Fractions of the axis that are tried as the start of the forms; all leave something to the first origin.
_STARTS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
#: Fewest checkpoints, and fewest that a prediction may know.
_FEWEST, _FEWEST_KNOWN = 6, 5
#: Checkpoints are padded to the first number, or to a multiple of the second.
_FEW_CHECKPOINTS, _MULTIPLE = 32, 128


@pytree
class Evolution:
    """Candidate forms of parameters over training; arrays begin with the axes ``(*batch)`` of the values.

    Attributes:
        fits: by name of the form, its fit to all checkpoints from `start` on: `params` and `stderr` by name,
            `covariance` in the alphabetical order of these names, `rss`, `num_points`, `status`; see
            `tsl_jax.LeastSquaresFit`.
        aicc: Akaike's criterion corrected for few points, of every form; inf where it has no fit or too few points.
        bic: Schwarz's, likewise.
        rolling_error: root mean square error, in the unit of the values, of predicting all later checkpoints from
            the earlier ones, over all `origins`; inf where there is no prediction.
        origin_error: the same for every origin.
        origins: the last checkpoint that each prediction knew, in axis units.
        chosen: which form, an index into `forms`.
        start: from where on the forms are fitted, in axis units.
        reference: the last checkpoint, in axis units: forms count the axis in units of it.
        forms: the candidates (static).
    """

    fits: dict[str, LeastSquaresFit]
    aicc: Float[Array, "*batch forms"]
    bic: Float[Array, "*batch forms"]
    rolling_error: Float[Array, "*batch forms"]
    origin_error: Float[Array, "*batch forms origins"]
    origins: Float[Array, " origins"]
    chosen: Int[Array, "*batch"]
    start: Float[Array, "*batch"]
    reference: Float[Array, ""]
    forms: tuple[Form, ...] = static()

    @property
    def chosen_name(self) -> np.ndarray:
        """Names of the chosen forms, a NumPy array of shape ``(*batch)``."""
        return np.asarray([form.name for form in self.forms])[np.asarray(self.chosen)]

    @with_own_switches
    def predict(
        self, axis: Float[Array | np.ndarray, " times"], covariates: PyTree = None, form: str | None = None
    ) -> Float[Array, "*batch times"]:
        """Values at ``axis``, by the chosen form of every batch element or by one form for all.

        Args:
            axis: (times,) in the unit of the fitted axis, above 0.
            covariates: at these times, where a form needs them.
            form: name of a form; by default the chosen ones.

        Raises:
            ValueError: there is no such form.
        """
        x = jax_array(axis) / self.reference
        if form is not None:
            return self._curve(_form_named(self.forms, form), x, covariates)
        curves = jnp.stack([self._curve(candidate, x, covariates) for candidate in self.forms])
        return jnp.take_along_axis(curves, self.chosen[None, ..., None], axis=0)[0]

    def _curve(self, form: Form, x, covariates):
        def curve(params):
            return form.curve(params, x, covariates)

        for _ in self.chosen.shape:
            curve = jax.vmap(curve)
        return curve(self.fits[form.name].params)


@with_own_switches
def evolution(
    axis: Float[Array | np.ndarray, " checkpoints"],
    values: Any,
    stderr: Any = None,
    *,
    forms: tuple[Form, ...] = FORMS,
    select: str = "rolling_origin",
    start: float | None = None,
    origins: int = 8,
    covariates: PyTree = None,
) -> Any:
    """Fits every candidate form to a parameter's course over training and chooses one.

    Least squares weighted by 1/stderr² relative to each other; the scatter around the fit tells the errors' size. The
    information criteria, ``n ln(rss/n)`` plus their price for p + 1 parameters, take the errors of checkpoints as
    independent. Checkpoints that share their tokens are not, which favours forms of many parameters; the
    rolling-origin error does not rest on that, and predicting is what the forms are for: hence the default.

    Args:
        axis: (checkpoints,) increasing: steps, tokens, dynamic time; a checkpoint at 0 is left out.
        values: (\\*batch, checkpoints) of one parameter, or a dictionary of such by name, as `PositionLaw.params`.
        stderr: their standard errors, likewise; a value whose error is NaN (a rate on its bound) is left out.
            ``None``: all finite values count alike.
        forms: the candidates, simplest first; see `Form`.
        select: ``"rolling_origin"``, ``"aicc"``, ``"bic"``, or the name of a form.
        start: axis value before which checkpoints are left out; early training seldom follows the form of the rest.
            ``None`` (default): of several up to a quarter of the axis, the one with the least rolling-origin error.
        origins: how many rolling origins, between 30 and 90% of the axis, each predicting all that follows.
        covariates: pytree of arrays (checkpoints, ...), handed to the forms, such as what the learning rate did.

    Returns:
        `Evolution`; for a dictionary, a dictionary of them.

    Raises:
        ValueError: fewer than 6 checkpoints, or an axis that does not increase; shapes that disagree; an unknown
            ``select``; two forms of one name.

    Example:
        >>> import jax.numpy as jnp
        >>> from tsl_jax.temporal import evolution
        >>> step = jnp.linspace(100.0, 5000.0, 30)
        >>> found = evolution(step, 3.0 + 8.0 * step**-0.4 + 1e-3 * jnp.cos(step))
        >>> str(found.chosen_name), round(float(found.predict(jnp.array([8000.0]))[0]), 2)
        ('power_law', 3.22)

    Source: arXiv 2404.17785 (that parameters evolve regularly); N. Sugiura 1978 (AICc), G. Schwarz 1978 (BIC).
    """
    if isinstance(values, dict):
        options = {"forms": forms, "select": select, "start": start, "origins": origins, "covariates": covariates}
        # One by one: a program of one parameter serves any number of them.
        return {
            name: evolution(axis, each, None if stderr is None else stderr[name], **options)
            for name, each in values.items()
        }
    at, values, weights = _checked(axis, values, stderr)
    names = [form.name for form in forms]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"forms: got {names}, expected at least one, with different names")
    if select not in (*CRITERIA, *names):
        raise ValueError(f"select: got {select!r}, expected one of {', '.join((*CRITERIA, *names))}")
    if origins < 1:
        raise ValueError(f"origins: got {origins}, expected at least 1")
    starts = np.asarray(_STARTS) * at[-1] if start is None else np.asarray([start], np.float64)
    known = _known_at_origins(at, origins)
    x = np.where(at > 0, at, at[-1]) / at[-1]  # where the axis is 0, the weight is
    rows = x, at >= starts[:, None], known, values, weights, covariates
    found = compare_forms(tuple(forms), *_padded(rows, len(at)))
    chosen: Any
    if select in CRITERIA:
        by = {"rolling_origin": found.rolling_error, "aicc": found.aicc, "bic": found.bic}
        chosen = module_of(by[select]).argmin(by[select], axis=-1)
    else:
        chosen = np.full(found.start.shape, names.index(select))
    dtype = found.aicc.dtype
    result = Evolution(
        **found._replace(start=module_of(found.start).asarray(starts, dtype)[found.start])._asdict(),
        chosen=chosen,
        origins=jnp.asarray(at[known.sum(axis=1) - 1], dtype),
        reference=jnp.asarray(at[-1], dtype),
        forms=tuple(forms),
    )
    return jax.tree.map(jnp.asarray, result)


def _checked(axis, values, stderr):
    """Axis, values, and weights that are 0 for what is left out."""
    at, values = checked_axis(axis, _FEWEST), as_known(real_array("values", values))
    if values.shape[-1:] != at.shape:
        raise ValueError(f"values: got shape {values.shape} with {len(at)} checkpoints, expected (..., checkpoints)")
    errors = np.ones(values.shape, np.float32) if stderr is None else as_known(real_array("stderr", stderr))
    if np.broadcast_shapes(errors.shape, values.shape) != values.shape:
        raise ValueError(f"stderr: got shape {errors.shape}, expected that of values, {values.shape}")
    xp = jnp if any_traced(values, errors) else np
    with np.errstate(all="ignore"):
        counts = xp.isfinite(values) & (errors > 0) & (at > 0)
        return at, values, xp.where(counts, 1 / xp.square(xp.where(counts, errors, 1)), 0)


def _padded(rows: PyTree, checkpoints: int) -> PyTree:
    """The same with checkpoints of weight 0 at the end, so that what is compiled serves runs of other lengths."""
    more = -checkpoints % (_FEW_CHECKPOINTS if checkpoints <= _FEW_CHECKPOINTS else _MULTIPLE)

    def pad(array):
        xp = jnp if any_traced(array) else np
        return xp.pad(array, [(0, 0)] * (np.ndim(array) - 1) + [(0, more)])

    x, *masks, covariates = rows
    covariates = jax.tree.map(lambda a: jnp.pad(a, [(0, more)] + [(0, 0)] * (jnp.ndim(a) - 1), mode="edge"), covariates)
    return (np.pad(x, (0, more), mode="edge"), *map(pad, masks), covariates)


def _known_at_origins(axis: np.ndarray, origins: int) -> np.ndarray:
    """(origins, checkpoints) 1 for what a prediction knows; each knows at least a few and leaves one out."""
    targets = np.linspace(_FIRST_ORIGIN, _LAST_ORIGIN, origins) * axis[-1]
    number = np.searchsorted(axis, targets, side="right")
    number = np.unique(np.clip(number, _FEWEST_KNOWN, len(axis) - 1))
    return np.arange(len(axis)) < number[:, None]


def _form_named(forms: tuple[Form, ...], name: str) -> Form:
    for form in forms:
        if form.name == name:
            return form
    raise ValueError(f"form: got {name!r}, expected one of {', '.join(form.name for form in forms)}")
