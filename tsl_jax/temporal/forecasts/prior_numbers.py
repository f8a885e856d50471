"""What is taken for likely of a run before it was seen."""

import dataclasses

import numpy as np

from ...arguments import real_number

#: Of each law by name, parameters of its shapes for a highest rate of 1.
Shapes = tuple[tuple[str, tuple[tuple[tuple[str, float], ...], ...]], ...]


@dataclasses.dataclass(frozen=True)
class ForecastPrior:
    """What is taken for likely before the run was seen: mean and standard deviation of normal distributions.

    Args:
        exponent: α of the falling power law; the default lies above theory's 1/3 in dynamic time, as fits to whole
            runs do.
        exponent_std: of ln α.
        gain: fall of the loss (nat) when the learning rate goes from its highest value to 0 and stays there long:
            the only thing that speaks of annealing as long as the run has not seen any. Default: the runs of 25M and
            100M parameters of arXiv 2503.12811; learn yours from your own by `prior_from_runs`.
        gain_std: its standard deviation, nat.
        gain_power: power of the loss at the highest rate that the gain goes with.
        gain_time: updates at the highest rate after which the gain is what is said; ``None``: at the last seen loss.
        transient: standard deviation of a deviation at the first row that dies with the square of the clock, nat; a
            run of a family that is not known may begin far off its later course.
        drift: how much the slope of the loss over the logarithm of the clock wanders in one e-fold, nat.
        drift_std: of its logarithm.
        noise: scatter of the measured losses, nat.
        noise_std: of its logarithm.
        shapes: of each law by name the shapes that its response may have, for a highest rate of 1; ``None``: published
            and some quicker and slower ones.
        law_weights: of each law by name that knows the learning rate, how likely it is before the run was seen, next
            to the others; ``None``: alike.
        clock: increasing pairs of logarithms: of the updates at the highest rate, and of the clock in which runs of
            the family are power laws; ``None``: those updates themselves.
        kept: what of the drawn spread of a forecast the bands keep; see `tsl_jax.temporal.forecasts.calibration`.
    """

    exponent: float = 0.55
    exponent_std: float = 0.25
    gain: float = 0.13
    gain_std: float = 0.06
    gain_power: float = 3.0
    gain_time: float | None = None
    transient: float = 0.3
    drift: float = 0.004
    drift_std: float = 1.0
    noise: float = 4e-3
    noise_std: float = 1.0
    shapes: Shapes | None = None
    law_weights: tuple[tuple[str, float], ...] | None = None
    clock: tuple[tuple[float, float], ...] | None = None
    kept: float = 0.63

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name in ("shapes", "law_weights", "clock") or (
                field.name == "gain_time" and self.gain_time is None
            ):
                continue
            value = real_number(f"ForecastPrior.{field.name}", getattr(self, field.name), "a positive number")
            if not (value > 0 or field.name in ("gain", "gain_power")):
                raise ValueError(f"ForecastPrior.{field.name}: got {value!r}, expected a positive number")
        if self.clock is not None:
            pairs = np.asarray(self.clock, np.float64)
            increases = (
                pairs.ndim == 2 and pairs.shape[1] == 2 and len(pairs) > 1 and np.all(np.diff(pairs, axis=0) > 0)
            )
            if not (increases and np.all(np.isfinite(pairs))):
                raise ValueError(
                    f"ForecastPrior.clock: got {self.clock!r}, expected two or more pairs of numbers, both increasing"
                )
        if any(not weight > 0 for _, weight in self.law_weights or ()):
            raise ValueError(
                f"ForecastPrior.law_weights: got {dict(self.law_weights or ())}, expected positive numbers"
            )


DEFAULT_PRIOR = ForecastPrior()
