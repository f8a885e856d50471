"""The laws: powers of step and of dynamic time, and three ways in which the loss follows the learning rate."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ...curves import Parameter
from .interface import COEFFICIENT, EXCESS, EXPONENT, FLOOR, ScheduleLaw


@dataclasses.dataclass(frozen=True)
class StepPowerLaw(ScheduleLaw):
    """``L = floor + coefficient · step^-exponent``: blind to the learning rate.

    Attributes:
        parameters: ``floor`` (nat), ``coefficient``, ``exponent``.

    Example:
        >>> StepPowerLaw().names
        ('floor', 'coefficient', 'exponent')
    """

    name = "step_power_law"
    parameters: ClassVar[tuple[Parameter, ...]] = (FLOOR, COEFFICIENT, EXPONENT)

    def axis(self, history):
        return jnp.asarray(history.step)


@dataclasses.dataclass(frozen=True)
class TimePowerLaw(ScheduleLaw):
    """``L = floor + coefficient · τ^-exponent`` in dynamic time τ: knows the sum of the learning rates only.

    Attributes:
        parameters: ``floor`` (nat), ``coefficient``, ``exponent``.

    Example:
        >>> from tsl_jax.temporal import history, schedule_from_rates
        >>> seen = history(schedule_from_rates([0.5] * 8), [2, 8])
        >>> TimePowerLaw().predict(dict(floor=2.0, coefficient=1.0, exponent=0.5), seen).tolist()
        [3.0, 2.5]

    Source: arXiv 2602.03685.
    """

    name = "time_power_law"
    parameters: ClassVar[tuple[Parameter, ...]] = (FLOOR, COEFFICIENT, EXPONENT)


@dataclasses.dataclass(frozen=True)
class AnnealingLaw(ScheduleLaw):
    """Changes relax exponentially in updates n: ``relaxed = 1 - exp(-n / memory)``.

    ``L = E + A·S1^-α - C·S2`` of arXiv 2408.11029, its momentum λ being ``exp(-1/memory)``, its
    ``C = (1 - λ) · excess`` and its ``E = floor + excess · (peak rate)``: summing ``λ^n`` over updates gives the
    same exponential. Unlike there, rises count as drops do, the warm-up's too.

    Attributes:
        parameters: ``floor`` (nat), ``coefficient``, ``exponent``, ``excess`` (nat a unit of rate), ``memory``
            (updates).

    Example:
        >>> from tsl_jax.temporal import history, schedule_from_rates
        >>> seen = history(schedule_from_rates([0.2] * 100 + [0.1] * 400), [100, 101, 500])
        >>> [f"{rate:.2f}" for rate in AnnealingLaw().lagged_rate(dict(memory=10.0), seen)]
        ['0.20', '0.19', '0.10']
    """

    name = "annealing_law"
    parameters = (FLOOR, COEFFICIENT, EXPONENT, EXCESS, Parameter("memory", "updates"))
    shapes: ClassVar[dict[str, tuple[float, ...]]] = {"memory": (30.0, 300.0, 3000.0)}
    typical: ClassVar[dict[str, float]] = {"memory": 1000.0}

    def relaxed(self, params, history):
        return -jnp.expm1(-jnp.asarray(history.updates) / params["memory"])


@dataclasses.dataclass(frozen=True)
class MultiPowerLaw(ScheduleLaw):
    """Changes relax as a power of s, the dynamic time since, rescaled by the rate changed to:

        ``relaxed = 1 - (1 + speed · η_k^-rate_exponent · s)^-slowness``

    ``L = L0 + A·(S1 + S_W)^-α - B Σ_k (η_(k-1) - η_k)·G(η_k^-γ S_k)``, ``G(x) = 1 - (1 + C·x)^-β`` of
    arXiv 2503.12811, here with ``B, C, β, γ = excess, speed, slowness, rate_exponent``.

    Attributes:
        parameters: ``floor`` (nat), ``coefficient``, ``exponent``, ``excess`` (nat a unit of rate), ``speed``,
            ``slowness``, ``rate_exponent``.
        power: of the base loss that the excess grows with; 0 is the published law.

    Example:
        >>> from tsl_jax.temporal import history, schedule_from_rates
        >>> seen = history(schedule_from_rates([0.2] * 100 + [0.1] * 400), [100, 101, 500])
        >>> shape = dict(speed=10.0, slowness=1.0, rate_exponent=0.0)
        >>> [f"{rate:.2f}" for rate in MultiPowerLaw().lagged_rate(shape, seen)]
        ['0.20', '0.15', '0.10']
    """

    power: float = 0.0

    name = "multi_power_law"
    parameters = (
        *(FLOOR, COEFFICIENT, EXPONENT, EXCESS),
        *Parameter.several(speed="rate^rate_exponent/axis", slowness="1", rate_exponent="1"),
    )
    shapes: ClassVar[dict[str, tuple[float, ...]]] = {
        "speed": (0.1, 1.0),
        "slowness": (0.25, 0.75),
        "rate_exponent": (0.25, 0.75),
    }
    typical: ClassVar[dict[str, float]] = {"speed": 1.0, "slowness": 0.5, "rate_exponent": 0.5}

    @property
    def noise_power(self):
        return self.power

    def relaxed(self, params, history):
        scaled = jnp.log(params["speed"]) - params["rate_exponent"] * history.log_rate + history.log_time
        return -jnp.expm1(-params["slowness"] * jax.nn.softplus(scaled))


@dataclasses.dataclass(frozen=True)
class MemoryLaw(ScheduleLaw):
    """Changes relax exponentially, a fraction fast and the rest slowly, and the excess grows with a power of the base:

        ``relaxed = 1 - fast_fraction · exp(-m / fast_memory) - (1 - fast_fraction) · exp(-m / slow_memory)``,
        ``m = n · (mean rate since the change / peak rate)^rate_power``, n the updates since

    The lagged rate is so a mixture of two moving averages of the learning rate. The lower the rate, the slower the loss
    follows, though less than in proportion. As many parameters as the multi-power law; both powers are chosen by what
    `choose_laws` finds on sizes that are not judged (``python -m benchmarks laws``).

    Attributes:
        power: of the base loss that the excess grows with.
        rate_power: of the learning rate that the memory's pace goes with: 0, updates whatever the rate; 1, dynamic
            time.
        parameters: ``floor`` (nat), ``coefficient``, ``exponent``, ``excess`` (nat^(1 - power) a unit of rate),
            ``fast_memory``, ``slow_memory`` (updates at the peak rate), ``fast_fraction``.

    Example:
        >>> from tsl_jax.temporal import history, schedule_from_rates
        >>> seen = history(schedule_from_rates([0.2] * 100 + [0.1] * 400), [100, 101, 500])
        >>> shape = dict(fast_memory=1.0, slow_memory=10.0, fast_fraction=0.5)
        >>> [f"{rate:.2f}" for rate in MemoryLaw(rate_power=0.0).lagged_rate(shape, seen)]
        ['0.20', '0.16', '0.10']
    """

    power: float = 3.0
    rate_power: float = 0.5

    name = "memory_law"
    parameters = (
        *(FLOOR, COEFFICIENT, EXPONENT, Parameter("excess", "nat^(1-power)/rate")),
        *Parameter.several(fast_memory="updates", slow_memory="updates", fast_fraction="1"),
    )
    shapes: ClassVar[dict[str, tuple[float, ...]]] = {
        "fast_memory": (20.0, 100.0),
        "slow_memory": (500.0, 3000.0),
        "fast_fraction": (0.5,),
    }
    typical: ClassVar[dict[str, float]] = {"fast_memory": 100.0, "slow_memory": 2000.0, "fast_fraction": 0.5}
    fractions: ClassVar[frozenset[str]] = frozenset({"fast_fraction"})

    @property
    def noise_power(self):
        return self.power

    def relaxed(self, params, history):
        updates = jnp.asarray(history.updates)
        if self.rate_power:
            mean_rate = history.log_time - jnp.log(updates) - jnp.log(jnp.asarray(history.peak))[:, None]
            updates = updates * jnp.exp(self.rate_power * mean_rate)
        fast, slow = (-jnp.expm1(-updates / params[name]) for name in ("fast_memory", "slow_memory"))
        return params["fast_fraction"] * fast + (1 - params["fast_fraction"]) * slow


#: The laws by name.
SCHEDULE_LAWS: dict[str, ScheduleLaw] = {
    law.name: law for law in (StepPowerLaw(), TimePowerLaw(), AnnealingLaw(), MultiPowerLaw(), MemoryLaw())
}
