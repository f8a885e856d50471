"""How a fit is done: one frozen, hashable object, passed by keyword and never changed silently."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Options of `fit` and `fit_store`; every one is recorded in the fit store.

    Args:
        min_plateau: least value (nat) of the two plateaus, ``offset`` and ``offset + amplitude``; a cross-entropy is
            not negative, so 0 by default. ``None`` leaves them free, down to -1000 times the curve's largest loss.
        max_plateau_ratio: greatest value of the plateaus as a multiple of the curve's first measured loss, such as 2;
            ``None`` (default) leaves them free above, up to 1000 times the curve's largest loss.
        noise: what standard errors, the test for an event and all that follows from them take the noise for:
            ``"correlated"`` (default), as the residuals show it, with a correlation between neighbouring checkpoints
            and a variance that changes along training; or ``"independent"``.
        event_test: how a sigmoid is tested against a constant: ``"f_test"``, an F test at level `significance` on
            losses out of which the correlation of the noise is taken, of what the curve explains without the two
            neighbouring checkpoints that speak most for it; or ``"bic"``, the Bayesian information criterion.
        significance: level of the F test, a probability of calling noise an event: an upper bound for independent,
            heavy-tailed, correlated and growing noise; under Huber's weights noise passes more often.
        huber_threshold: residuals beyond this many noise standard deviations are down-weighted (Huber's M-estimator,
            by iterative re-weighting; 1.345 keeps 95% efficiency on Gaussian noise). ``None`` (default): plain least
            squares.
        max_steps: most Levenberg-Marquardt steps per curve and start, rounded up to whole rounds of 3; a curve that
            needs more gets `Status.MAX_STEPS` and the best point found.
        starts: most starts for a curve whose best fit is in doubt (noisy, or with an event near or past an end of the
            window), at most 16; all others have one. A curve that is matched all but perfectly, as only losses
            without noise are, has up to 8, unless this is 1.
        tolerance: a curve has converged when the next step would lower its rss by less than this fraction.
            ``None`` (default): 1e-6 in float32, 1e-12 in float64.
        block_size: curves fitted together; ``None`` (default) picks it for the device.
        kernel: ``"native"``, the kernel in C++ for CPUs and NVIDIA's GPUs, which fits the families of this package in
            float32, several times faster, and is built the first time it is used, if there is a compiler (C++, CUDA);
            ``"xla"``, which fits any family anywhere, and what `jax.export` takes; ``"auto"`` (default), the
            native one where it can be had (on a GPU: and agrees with XLA's on planted curves, which is tried once for
            each device, driver and build), else XLA's. They agree to rounding. Under `jax.jit` nothing is built: there
            the native one can be had if it was loaded before, by an earlier fit or by `tsl_jax.load_kernel`.

    Raises:
        ValueError: an option is outside its range; the message names it and the range.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = (7.0 * step**-0.5 + 2.5).at[20].set(30.0)  # a spike
        >>> fit = tsl.fit(tsl.PowerLaw(), step, losses, options=tsl.FitOptions(huber_threshold=1.345))
        >>> round(float(fit.params["exponent"]), 2)
        0.5
        >>> tsl.FitOptions(significance=5)
        Traceback (most recent call last):
        ...
        ValueError: FitOptions.significance: got 5, expected a probability between 0 and 1
    """

    min_plateau: float | None = 0.0
    max_plateau_ratio: float | None = None
    noise: Literal["correlated", "independent"] = "correlated"
    event_test: Literal["f_test", "bic"] = "f_test"
    significance: float = 0.01
    huber_threshold: float | None = None
    max_steps: int = 128
    starts: int = 2
    tolerance: float | None = None
    block_size: int | None = None
    kernel: Literal["auto", "native", "xla"] = "auto"

    def __post_init__(self) -> None:
        def check(name: str, holds, expected: str, kind: type = float, optional: bool = False) -> None:
            value = getattr(self, name)
            if optional and value is None:
                return
            kinds = (int, float) if kind is float else (kind,)
            known = isinstance(value, kinds) and not isinstance(value, bool)
            if not (known and value == value and holds(value)):
                raise ValueError(
                    f"FitOptions.{name}: got {value!r}, expected {expected}{' or None' if optional else ''}"
                )

        positive = "a positive number"
        check("min_plateau", lambda v: abs(v) < float("inf"), "a finite number", optional=True)
        check("max_plateau_ratio", lambda v: 0 < v < float("inf"), positive, optional=True)
        check("noise", lambda v: v in ("correlated", "independent"), "'correlated' or 'independent'", kind=str)
        check("event_test", lambda v: v in ("f_test", "bic"), "'f_test' or 'bic'", kind=str)
        check("significance", lambda v: 0 < v < 1, "a probability between 0 and 1")
        check("huber_threshold", lambda v: 0 < v < float("inf"), positive, optional=True)
        check("max_steps", lambda v: v >= 1, "a whole number of at least 1", kind=int)
        check("starts", lambda v: v >= 1, "a whole number of at least 1", kind=int)
        check("tolerance", lambda v: 0 < v < 1, "a number between 0 and 1", optional=True)
        check("kernel", lambda v: v in ("auto", "native", "xla"), "'auto', 'native' or 'xla'", kind=str)
        check("block_size", lambda v: v >= 1, "a whole number of at least 1", kind=int, optional=True)
