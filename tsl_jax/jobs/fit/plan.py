"""What a fit store will say of itself, and how it is cut, before anything is written."""

import dataclasses
import importlib.metadata
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...curves import Family
from ...fitting import check_axis
from ...store import PROBABILITY_ARRAYS, FitHeader, Layout, LossStore, StoreError
from ...stream.cores import tasks_at_a_time
from ...stream.machine import local_devices
from ...stream.plan import DEFAULT_MEMORY, bytes_per_token, plan_layout, refuse_absurd
from ...stream.sending import seen_from_here
from .fitter import BlockFitter
from .hardware import describe_fitter
from .noise import ALONE, Recorded, check_asked, settle_noise
from .request import FitRequest


@dataclasses.dataclass(frozen=True)
class FitPlan:
    """What a fit store will say of itself and how it is cut.

    Attributes:
        header: what it will say.
        layout: how a new one is cut.
        fitter: what fits, see `describe_fitter`.
        noise_seconds: for estimating the noise.
    """

    header: FitHeader
    layout: Layout
    fitter: Mapping[str, str]
    noise_seconds: float

    def request(self, request: FitRequest) -> FitRequest:
        """A request with the kernel that was chosen."""
        kernel: Any = self.header.options["kernel"]
        return dataclasses.replace(request, options=dataclasses.replace(request.options, kernel=kernel))


def plan_fit(request: FitRequest, recorded: Recorded, losses: LossStore, fitter: BlockFitter) -> FitPlan:
    """Decide how a store will be fitted; nothing is written.

    Args:
        request: what is asked for.
        recorded: what the header of a store that is there says of the noise; None where there is none.
        losses: the losses, open.
        fitter: what will fit, or something of its kind.
    """
    family, values = request.family, losses.axis(request.axis)
    left_out = left_out_checkpoints(family, request.axis, values)
    check_asked(request.noise, request.options, values[len(left_out) :])
    begun = time.perf_counter()
    noise = settle_noise(recorded, losses, fitter, request)
    seconds = time.perf_counter() - begun
    header = fit_header(family, request.axis, fitter, left_out, noise)
    layout = fit_layout(losses, family, fitter, request.memory)
    return FitPlan(header, layout, describe_fitter(fitter.options.kernel, fitter.devices[0]), seconds)


def plan_elsewhere(request: FitRequest, recorded: Recorded) -> FitPlan:
    """`plan_fit` in the process of a worker, with its devices; the tasks that run there at a time share its memory."""
    memory = (request.memory or DEFAULT_MEMORY) // tasks_at_a_time()
    request = dataclasses.replace(request, memory=memory)
    with seen_from_here():
        losses, _ = request.open_losses()
    return plan_fit(request, recorded, losses, fitter_of(request, losses))


def fitter_of(request: FitRequest, losses: LossStore, devices: Any = None) -> BlockFitter:
    """What fits these losses on some devices, all local ones by default."""
    left_out_checkpoints(request.family, request.axis, losses.axis(request.axis))
    where = list(local_devices() if devices is None else devices)
    return BlockFitter(request.family, losses.axis(request.axis), losses.losses.dtype, request.options, where)


def left_out_checkpoints(family: Family, axis: str, values: np.ndarray) -> tuple[int, ...]:
    """Checkpoints that cannot be used, those at 0 on a log scale; raises if too few are left."""
    try:
        usable = len(check_axis(family, values))
    except ValueError as error:
        raise StoreError(f"axis {axis!r}: {str(error).removeprefix('time: ')}") from error
    needed = len(family.names) + 1
    if usable < needed:
        raise StoreError(
            f"losses: {usable} checkpoints can be used, expected at least {needed}, one more than "
            f"{family.name} has parameters; measure more checkpoints"
        )
    return tuple(range(len(values) - usable))


def fit_header(
    family: Family,
    axis: str,
    fitter: BlockFitter,
    left_out: tuple[int, ...],
    noise: tuple[str, dict[str, Any] | None] = (ALONE, None),
) -> FitHeader:
    """What a fit store says of its fits; ``noise``: see `settle_noise`."""
    return FitHeader(
        family=family.name,
        family_fields=dataclasses.asdict(family),
        parameters={parameter.name: parameter.unit for parameter in family.parameters},
        scale=family.scale,
        axis=axis,
        options=dataclasses.asdict(fitter.options),
        dtype=str(fitter.result_dtype),
        package_version=importlib.metadata.version("tsl_jax"),
        event=family.event,
        event_dtype=str(fitter.event_dtype),
        noise_source=noise[0],
        noise=noise[1],
        left_out_checkpoints=left_out,
    )


def fit_layout(
    losses: LossStore, family: Family, fitter: BlockFitter, memory: int | None = None, block_tokens: int | None = None
) -> Layout:
    """How a new fit store is cut.

    Args:
        losses: what is fitted.
        family: by what.
        fitter: where.
        memory: bytes of host memory that the blocks in flight have.
        block_tokens: most tokens of a block, whatever the memory.

    Raises:
        ValueError: the memory is far too small for these losses.
    """
    floats = 2 * len(family.names) + 3  # parameters, their errors, and rss, r2 and constant
    coordinates = sum(array.dtype.itemsize for array in losses.token_coordinates.values())
    small = 4 + 2 + 2 * 2  # num_points; status and category; noise_correlation and effective_points
    probabilities = 0 if family.event is None else len(PROBABILITY_ARRAYS)
    wider = fitter.event_dtype.itemsize - fitter.result_dtype.itemsize
    result_bytes = floats * fitter.result_dtype.itemsize + wider + small + probabilities + coordinates
    token_bytes = bytes_per_token(losses.num_checkpoints, losses.losses.dtype.itemsize, result_bytes)
    memory = memory or DEFAULT_MEMORY
    if block_tokens is not None:
        memory = min(memory, block_tokens * token_bytes)
    else:
        refuse_absurd(losses.num_tokens, token_bytes, losses.chunk_tokens, memory)
    return plan_layout(
        losses.num_tokens, token_bytes, losses.chunk_tokens, losses.shard_tokens, memory, fitter.row_multiple
    )
