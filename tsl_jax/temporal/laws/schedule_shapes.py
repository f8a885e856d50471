"""Shapes of a learning rate after its warm-up, with few parameters each."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

#: Powers of a decay that are tried.
POWERS = (0.5, 4.0)


@dataclasses.dataclass(frozen=True)
class ScheduleShape:
    """A learning rate over its peak, as a function of the part of the updates after the warm-up that is done.

    Args:
        name: of the shape.
        parameters: some of ``"start"`` (part at which the decay begins), ``"final"`` (last rate over the peak) and
            ``"power"`` (of the decay).
        rate: from progress (0 to 1) and the parameters by name to the rate over the peak.

    Example:
        >>> import jax.numpy as jnp
        >>> SCHEDULE_SHAPES["wsd-linear"].rate(jnp.array([0.0, 0.5, 0.75, 1.0]), {"start": 0.5, "final": 0.2}).tolist()
        [1.0, 1.0, 0.6000000238418579, 0.20000000298023224]
    """

    name: str
    parameters: tuple[str, ...]
    rate: Callable[[Float[Array, " rows"], dict[str, Array]], Float[Array, " rows"]]


def _decay(fall: Callable[[Array, dict[str, Array]], Array]) -> Callable[[Array, dict[str, Array]], Array]:
    """A stable rate, then from 1 to ``final`` as the fall (1 to 0) says."""

    def rate(progress, values):
        done = jnp.clip((progress - values["start"]) / (1 - values["start"]), 0.0, 1.0)
        return values["final"] + (1 - values["final"]) * fall(done, values)

    return rate


def _exponential(progress, values):
    done = jnp.clip((progress - values["start"]) / (1 - values["start"]), 0.0, 1.0)
    return values["final"] ** done


def _cosine(progress, values):
    return values["final"] + (1 - values["final"]) * (1 + jnp.cos(jnp.pi * progress)) / 2


_SHAPES = (
    ScheduleShape("constant", (), lambda progress, values: jnp.ones_like(progress)),
    ScheduleShape("linear", ("final",), lambda progress, values: 1 - (1 - values["final"]) * progress),
    ScheduleShape("cosine", ("final",), _cosine),
    ScheduleShape("wsd-linear", ("start", "final"), _decay(lambda done, values: 1 - done)),
    ScheduleShape("wsd-exponential", ("start", "final"), _exponential),
    ScheduleShape("wsd-sqrt", ("start", "final"), _decay(lambda done, values: 1 - jnp.sqrt(done))),
    ScheduleShape("wsd-power", ("start", "final", "power"), _decay(lambda done, values: (1 - done) ** values["power"])),
)
#: The shapes by name; WSD is warm-up, stable, decay.
SCHEDULE_SHAPES: dict[str, ScheduleShape] = {shape.name: shape for shape in _SHAPES}
#: The search without a shape: any rates that do not rise after the warm-up.
FREE = "free"


def shapes_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of shapes, ``wsd`` standing for all that begin so.

    Raises:
        ValueError: an unknown one, or none.
    """
    known = (*SCHEDULE_SHAPES, FREE)
    found: list[str] = []
    for name in names:
        fitting = [one for one in known if one == name or (name == "wsd" and one.startswith("wsd-"))]
        if not fitting:
            raise ValueError(f"shapes: got {name!r}, expected some of {', '.join((*known, 'wsd'))}")
        found += fitting
    if not found:
        raise ValueError("shapes: got none, expected at least one, such as ('wsd', 'cosine')")
    return tuple(dict.fromkeys(found))
