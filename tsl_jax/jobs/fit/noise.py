"""The noise model that all tokens of a fit store share: estimated once, from a sample, and kept in its header."""

import functools
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from ...curves import Family
from ...fitting import FitOptions, NoiseModel, TooFewCurvesError
from ...fitting.checks import check_noise
from ...fitting.noise_estimation import FEWEST_CURVES, model_of_sample
from ...fitting.noise_sample import fitted_rows
from ...store import LossStore, StoreError, StoreLike, open_fits, read_rows_with_gaps
from ...store.far_requests import at_once
from ...store.samples import sampled_runs
from ...stream.kept_programs import compiled_for
from .fitter import BlockFitter, made_from
from .request import FitRequest

#: Tokens in the sample; fewer where they have many checkpoints, for so many losses; and fewest.
MOST_TOKENS, MOST_LOSSES, LEAST_TOKENS = 1024, 2**20, 64
#: They are read as runs of at most so many consecutive tokens.
RUN_TOKENS = 32

#: What a header says: where the model comes from, and the model.
Recorded = tuple[str, dict[str, Any] | None] | None
#: Where the noise of a fit store comes from.
ESTIMATED, TOO_FEW_CURVES, GIVEN, ALONE, INDEPENDENT = "estimated", "too few curves", "given", "alone", "independent"


def sampled_tokens(num_tokens: int, num_checkpoints: int) -> list[slice]:
    """Runs of tokens, evenly spread; no layout and no memory changes them."""
    most = max(LEAST_TOKENS, min(MOST_TOKENS, MOST_LOSSES // max(num_checkpoints, 1)))
    return sampled_runs(num_tokens, min(RUN_TOKENS, most // 16), most)


def estimate_noise(
    losses: LossStore,
    family: Family,
    axis: np.ndarray,
    options: FitOptions,
    on_bad_chunk: Literal["stop", "skip"],
    device: Any,
) -> NoiseModel | None:
    """The noise model of a sample of a store's tokens; None where too few of them have residuals to learn from.

    Raises:
        ChunkError: a chunk of the sample cannot be read, and that is an error.
    """
    if losses.num_tokens < FEWEST_CURVES:
        return None

    def read(part: slice) -> np.ndarray:
        if on_bad_chunk == "stop":
            return losses.read(part)
        return read_rows_with_gaps(losses.losses, part.start, part.stop, absent=losses.absent(losses.losses))[0]

    rows = at_once(losses.location, read, sampled_tokens(losses.num_tokens, losses.num_checkpoints))
    with jax.default_device(device):
        try:
            sample, program = np.concatenate(rows), functools.partial(_fitted_rows, device)
            model = model_of_sample(family, axis, sample, None, options=options, fitted=program)
        except TooFewCurvesError:
            return None
    # As a run reads it that goes on with this one.
    return NoiseModel.from_dict(model.as_dict())


def _fitted_rows(device: Any, family: Family, options: FitOptions, *arrays: Any) -> Any:
    """`fitted_rows` on a device, by a program that is kept."""
    return _program(device, family, options, *((array.shape, array.dtype) for array in arrays))(*arrays)


@functools.lru_cache(maxsize=16)
def _program(device: Any, family: Family, options: FitOptions, *shapes: tuple[tuple[int, ...], Any]) -> Any:
    def lower(program: Any, device: Any) -> Any:
        where = SingleDeviceSharding(device)
        arrays = [jax.ShapeDtypeStruct(shape, dtype, sharding=where) for shape, dtype in shapes]
        return program.lower(*arrays)

    known = made_from(family, options, [(shape, str(np.dtype(dtype))) for shape, dtype in shapes])
    return compiled_for([device], functools.partial(fitted_rows, family, options), lower, "fitted_rows", known)[0]


def settle_noise(
    recorded: Recorded, losses: LossStore, fitter: BlockFitter, request: FitRequest
) -> tuple[str, dict[str, Any] | None]:
    """What the header says of the noise: what it says already where that is what is asked for, else something new.

    Args:
        recorded: what the header of a store that is there says; None where there is none.
        losses: where a sample is taken.
        fitter: with what it is fitted.
        request: what is asked for.

    Returns:
        Where the model comes from, and the model as JSON can hold it.
    """
    if fitter.options.noise == "independent":
        return INDEPENDENT, None
    if request.noise is None:
        return ALONE, None
    if isinstance(request.noise, NoiseModel):
        given = request.noise.as_dict()
        return recorded if recorded is not None and recorded[1] == given else (GIVEN, given)
    if recorded is not None:  # estimated once and for all; if it is another, the header says so and refuses
        return recorded if recorded[0] in (ESTIMATED, TOO_FEW_CURVES) else (ESTIMATED, None)
    axis = losses.axis(request.axis)
    model = estimate_noise(losses, request.family, axis, fitter.options, request.on_bad_chunk, fitter.devices[0])
    return (TOO_FEW_CURVES, None) if model is None else (ESTIMATED, model.as_dict())


def check_asked(asked: Any, options: FitOptions, usable_axis: np.ndarray) -> None:
    """Raise on a ``noise`` that `fit_store` cannot take."""
    if isinstance(asked, str) and asked == "estimate":
        return
    if isinstance(asked, str):
        raise ValueError(f"noise: got {asked!r}, expected 'estimate', a tsl_jax.NoiseModel or None")
    check_noise(options, asked, usable_axis)


def noise_of_fits(fits: StoreLike) -> NoiseModel:
    """The noise model that a fit store records, to be shared with another.

    Raises:
        StoreError: it is no fit store, or records none.
    """
    store = open_fits(fits)
    if store.noise is None:
        raise StoreError(
            f"{store.name}: records no noise model (its noise: {store.attributes['noise_source']}); give fits that "
            "have one"
        )
    return NoiseModel.from_dict(dict(store.noise))
