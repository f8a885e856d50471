"""What fits are given, checked: what is known before compilation to be wrong raises at once."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..arguments import is_traced, kind_of, real_array, refuse_falling
from ..curves import Family, native
from ..devices import a_device
from .few_sizes import on_host
from .noise import NoiseModel
from .options import FitOptions

#: Curves of a call that are looked at for losses that are none.
_SAMPLE = 1024


def check_input(family: Any, time: Any, losses: Any, weights: Any, options: Any) -> tuple[Any, Any, Any]:
    """Axis, losses and weights, checked, NumPy's where they are known here; without a checkpoint at 0 on a log scale.

    Raises:
        TypeError: losses, weights or time are not real numbers, or the family or options are of another type.
        ValueError: shapes disagree, the axis cannot be fitted over, or there are too few checkpoints.
    """
    if not isinstance(family, Family):
        if isinstance(family, type):
            raise TypeError(f"family: got the class {family.__name__}, expected an instance such as tsl_jax.Sigmoid()")
        got = f"{type(family).__name__} of shape {np.shape(family)}" if hasattr(family, "shape") else repr(family)
        swapped = "; arguments seem to be swapped: call fit(family, time, losses)" if hasattr(family, "shape") else ""
        raise TypeError(f"family: got {got}, expected an instance such as tsl_jax.Sigmoid(){swapped}")
    if not isinstance(options, FitOptions):
        raise TypeError(f"options: got {type(options).__name__}, expected tsl_jax.FitOptions(...)")
    a_device()
    losses, time = checked_losses(losses), time if is_traced(time) else real_array("time", time)
    if losses.ndim < 1 or np.ndim(time) != 1 or losses.shape[-1] != len(time):
        raise ValueError(
            f"losses: got shape {losses.shape} with time of shape {np.shape(time)}, expected (..., checkpoints) and "
            f"(checkpoints,); {_cure_of_shapes(losses.shape, np.shape(time))}"
        )
    if weights is not None:
        weights = as_known(real_array("weights", weights, boolean=True), jnp.promote_types(losses.dtype, jnp.float32))
        if weights.shape not in (losses.shape, losses.shape[-1:]):
            raise ValueError(
                f"weights: got shape {weights.shape}, expected {losses.shape} (one per loss) or {losses.shape[-1:]}"
            )
    if not is_traced(time):
        time = check_axis(family, time)
        left_out = losses.shape[-1] - len(time)
        losses = losses[..., left_out:]
        weights = weights if weights is None else weights[..., left_out:]
    needed = len(family.names) + 1
    if losses.shape[-1] < needed:
        raise ValueError(
            f"losses: got {losses.shape[-1]} usable checkpoints, expected at least {needed} (parameters + 1) for "
            f"family {family.name!r}; measure more checkpoints"
        )
    warn_of_negative(losses, options)
    return time, losses, weights


def _cure_of_shapes(losses: tuple[int, ...], time: tuple[int, ...]) -> str:
    """What is likely wrong with shapes that do not fit together."""
    if len(time) > 1 and len(losses) == 1 and losses[0] in time:
        return "time and losses seem to be swapped: call fit(family, time, losses)"
    if len(time) == 1 and len(losses) == 2 and losses[0] == time[0]:
        return "losses seem to be transposed, with checkpoints first: pass losses.T"
    return "transpose losses if their checkpoints come first"


def checked_losses(losses: Any, name: str = "losses") -> Any:
    """Losses of a floating-point dtype that JAX has, NumPy's where they are known here.

    Raises:
        TypeError: they are of another dtype. ValueError: rows of different lengths.
    """
    if isinstance(losses, np.ndarray | jax.Array) and kind_of(losses.dtype) in "iub":
        raise TypeError(
            f"{name}: got dtype {losses.dtype}, expected a floating-point dtype; convert them with "
            f"{name}.astype('float32') if they are losses in nat"
        )
    array = real_array(name, losses)
    if kind_of(array.dtype) != "f":  # a list of whole numbers
        raise TypeError(
            f"{name}: got whole numbers, expected a floating-point dtype; convert them with "
            f"np.asarray({name}).astype('float32') if they are losses in nat"
        )
    return as_known(array)


def as_known(array: Any, dtype: Any = None) -> Any:
    """`on_host`, in a dtype that JAX has: float64 only where it is switched on."""
    array = native(on_host(array))
    if not isinstance(array, np.ndarray | np.generic):
        return array if dtype is None else jnp.asarray(array, dtype)
    with np.errstate(over="ignore"):  # beyond float32 is infinite there, and told by a status
        return np.asarray(array, jax.dtypes.canonicalize_dtype(array.dtype if dtype is None else dtype))


def warn_of_negative(losses: Any, options: FitOptions) -> None:
    """Warn if most losses are negative where plateaus may not be.

    Only where values are known; they are looked at in up to 1,024 curves.
    """
    if options.min_plateau is None or options.min_plateau < 0 or not isinstance(losses, np.ndarray) or not losses.size:
        return
    rows = losses.reshape(-1, losses.shape[-1])
    seen = rows[:: max(1, len(rows) // _SAMPLE)]
    measured = np.count_nonzero(~np.isnan(seen))
    with np.errstate(invalid="ignore"):  # bfloat16 warns where it compares NaN
        negative = np.count_nonzero(seen < 0)
    if measured and 2 * negative > measured:
        warnings.warn(NEGATIVE, UserWarning, stacklevel=_outside())


NEGATIVE = (
    "losses: most are negative, and fits are kept at FitOptions.min_plateau = 0 or above. Log-probabilities? A loss is "
    "-x; for quantities that may be negative fit with FitOptions(min_plateau=None)"
)


def _outside() -> int:
    """How many frames up the caller of this package is, for a warning that shows the caller's line."""
    import inspect

    package, frame, level = __name__.partition(".")[0], inspect.currentframe(), 0
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    return level


def check_noise(options: FitOptions, noise: NoiseModel | None, time) -> None:
    """Raise on a noise model that cannot be used."""
    if noise is None:
        return
    if not isinstance(noise, NoiseModel):
        raise TypeError(f"noise: got {type(noise).__name__}, expected what tsl_jax.noise_model(...) returns, or None")
    if options.noise != "correlated":
        raise ValueError(f"noise: a model was given with FitOptions(noise={options.noise!r}), expected 'correlated'")
    number = np.shape(noise.time)[0]
    same = number == len(time)
    if same and not (is_traced(time) or is_traced(noise.time)):
        same = np.allclose(np.asarray(noise.time), np.asarray(time), rtol=1e-6)
    if not same:
        raise ValueError(
            f"noise: the model is for {number} other checkpoints than the {len(time)} that are fitted; estimate it on "
            "losses at these checkpoints with tsl_jax.noise_model"
        )


def check_axis(family: Family, time) -> np.ndarray:
    """Checked axis values in float64, without a leading 0 on a log scale.

    Raises:
        TypeError: not real numbers. ValueError: not finite, not increasing, or negative on a log scale.
    """
    time = np.asarray(real_array("time", time)).astype(np.float64)
    if not np.all(np.isfinite(time)):
        raise ValueError(
            f"time: value {time[~np.isfinite(time)][0]} at index {np.argmin(np.isfinite(time))} is not finite"
        )
    refuse_falling("time", time, "sort the checkpoints and drop repeated ones")
    if family.scale == "log" and len(time) and time[0] < 0:
        raise ValueError(
            f"time: got {time[0]:g} at index 0, expected values of 0 or above on a log scale; use scale='linear' or "
            "another axis"
        )
    return time[1:] if family.scale == "log" and len(time) and time[0] == 0 else time
