"""Arrays by name, from which losses, steps and what is known of the tokens are chosen."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...arguments import kind_of
from ..errors import StoreError
from ..schema import KNOWN_AXES
from .files import ONLY
from .incoming import CheckpointColumns, FlatColumn, IncomingLosses, LossMatrix, counted
from .source_array import SourceArray, check_losses
from .steps import GIVE_STEPS, STEP_NAMES, one_step, step_in

#: What losses are called.
LOSS_NAMES = ("losses", "loss", "token_losses", "token_loss", "per_token_loss", "nll", "nlls", "token_nll", "ce_loss")
#: What dimensions of checkpoints are called.
CHECKPOINT_DIMS = ("checkpoint", "checkpoints", "ckpt", *STEP_NAMES)

Bundle = Mapping[str, SourceArray]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What was said of the source.

    Attributes:
        checkpoints: coordinates that were given, (checkpoints,) by name.
        array: name of the array, or column, that holds the losses; None: it is found.
        transpose: whether checkpoints come before tokens.
    """

    checkpoints: Mapping[str, np.ndarray]
    array: str | None = None
    transpose: bool = False

    @property
    def loss_columns(self) -> tuple[str, ...]:
        """What a column of losses may be called."""
        return (self.array,) if self.array else LOSS_NAMES


def losses_of_bundle(name: str, bundle: Bundle, wanted: Wanted) -> IncomingLosses:
    """One array of all checkpoints, or one array a checkpoint whose names tell the steps.

    Raises:
        StoreError: none of the arrays holds losses, or their steps are not known.
    """
    key = loss_name(name, bundle, wanted.array, needed=False)
    if key is None:
        numbered = [key for key, array in bundle.items() if array.ndim and step_in(key) is not None]
        if not numbered:
            loss_name(name, bundle, wanted.array)
        others = {key: array for key, array in bundle.items() if key not in numbered}
        rows = [(key, {ONLY: bundle[key]} | (others if at == 0 else {})) for at, key in enumerate(numbered)]
        return losses_of_checkpoints(name, rows, [step_in(key) for key in numbered], wanted)
    array = bundle[key]
    step = _own_step(bundle) if _own_step(bundle) is not None else step_in(key)
    if array.ndim == 1 and (step is not None or len(wanted.checkpoints.get("step", ())) == 1):
        return losses_of_checkpoints(name, [(key, bundle)], [step], wanted)
    return _matrix(name, key, bundle, wanted)


def losses_of_checkpoints(
    name: str, found: Sequence[tuple[str, Bundle]], steps: Sequence[float | None], wanted: Wanted
) -> IncomingLosses:
    """Arrays of one checkpoint each, with the names of their places.

    Args:
        name: of the source.
        found: name and arrays of each checkpoint.
        steps: of each, as its name tells; None where it does not.
        wanted: see `Wanted`; steps that were given are those of the checkpoints in order.

    Raises:
        StoreError: a step is not known or there twice, or the arrays do not fit together.
    """
    own = [_own_step(bundle) for _, bundle in found]
    steps = [step if mine is None else mine for step, mine in zip(steps, own, strict=True)]
    checkpoints = dict(wanted.checkpoints)
    order = list(range(len(found)))
    if "step" not in checkpoints:
        without = [label for (label, _), step in zip(found, steps, strict=True) if step is None]
        if without:
            raise StoreError(f"{name}: the step of {without[0]} is not known: no number in its name; {GIVE_STEPS}")
        order.sort(key=lambda at: steps[at] or 0)
        for one, other in itertools.pairwise(order):
            if steps[one] == steps[other]:
                both = f"{found[one][0]} and {found[other][0]}"
                raise StoreError(
                    f"{name}: {both} have the same step, {steps[one]}; rename one of them, or {GIVE_STEPS}"
                )
        checkpoints |= {"step": np.array([steps[at] for at in order])}
    elif None not in steps:
        order.sort(key=lambda at: steps[at] or 0)
    arrays = [bundle[loss_name(label, bundle, wanted.array) or ""] for label, bundle in (found[at] for at in order)]
    losses = CheckpointColumns(name, arrays)
    first = arrays[0].shape
    return IncomingLosses(
        name=name,
        losses=losses,
        checkpoint_coordinates=checkpoints,
        token_coordinates=counted(first) | _columns(first, [found[at][1] for at in order], arrays),
    )


def loss_name(name: str, bundle: Bundle, array: str | None, *, needed: bool = True) -> str | None:
    """Which of some arrays holds the losses; None if there is none of a known name, nor a single one of losses.

    Raises:
        StoreError: the array that was named is not there; or there is none, where one is needed.
    """
    shown = ", ".join(f"{key} {array.shape} {array.dtype}" for key, array in itertools.islice(bundle.items(), 8))
    if array is not None:
        if array in bundle:
            return array
        raise StoreError(f"{name}: has no array {array!r} but {shown or 'none'}; name another with --array (array=)")
    for known in LOSS_NAMES:
        if known in bundle and bundle[known].ndim:
            return known
    real = [key for key, array in bundle.items() if array.ndim and kind_of(array.dtype) == "f"]
    if len(real) == 1 and (needed or (bundle[real[0]].ndim > 1 and step_in(real[0]) is None)):
        return real[0]
    if not needed:
        return None
    if len(bundle) == 1 and next(iter(bundle.values())).ndim:
        check_losses(next(iter(bundle.values())))
    raise StoreError(
        f"{name}: which array holds the losses? It has {shown or 'none'}; name it with --array NAME (array='NAME'), or "
        "call it losses"
    )


def _matrix(name: str, key: str, bundle: Bundle, wanted: Wanted) -> IncomingLosses:
    """One array of all checkpoints."""
    array = bundle[key]
    check_losses(array)
    own = next((bundle[known] for known in STEP_NAMES if known in bundle and bundle[known].ndim == 1), None)
    along = _checkpoint_dim(array)
    first = wanted.transpose if along is None else along == 0
    if array.ndim < 2:
        raise StoreError(
            f"{array.name}: got shape {array.shape}, expected (tokens, checkpoints); losses of one checkpoint need its "
            f"step, in the name of the file or given: {GIVE_STEPS}"
        )
    number = array.shape[0 if first else -1]
    given = wanted.checkpoints.get("step", own)
    _check_steps(array, None if given is None else given.size, number, first)
    assert given is not None
    checkpoints = {**wanted.checkpoints, "step": given[...]}
    shape = array.shape[1:] if first else array.shape[:-1]
    if array.ndim == 3 or first:
        parts = [_part(array, at) for at in range(number)] if first else []
        losses: Any = CheckpointColumns(name, parts) if first else LossMatrix(array)
    else:
        losses = LossMatrix(array)
    others = {axis: bundle[axis][...] for axis in KNOWN_AXES if axis in bundle and bundle[axis].shape == (number,)}
    return IncomingLosses(
        name=name,
        losses=losses,
        checkpoint_coordinates=others | checkpoints,
        token_coordinates=counted(shape) | _columns(shape, [bundle], [array]),
    )


def _checkpoint_dim(array: SourceArray) -> int | None:
    """Which dimension is that of the checkpoints, if dimensions have names."""
    dims = [str(dim).lower() if dim is not None else "" for dim in array.dims or ()]
    found = [at for at, dim in enumerate(dims) if dim in CHECKPOINT_DIMS]
    return found[0] if len(found) == 1 and found[0] in (0, array.ndim - 1) else None


def _check_steps(array: SourceArray, given: int | None, number: int, first: bool) -> None:
    """Raise unless there is a step for each checkpoint, and say it if the other dimension has as many."""
    expected = "(checkpoints, tokens)" if first else "(tokens, checkpoints)"
    if given is None:
        raise StoreError(
            f"{array.name}: the steps of its {number:,} checkpoints are not known (shape {array.shape}, read as "
            f"{expected}); {GIVE_STEPS}"
        )
    if given == number:
        return
    other = array.shape[-1 if first else 0]
    if given == other:
        turn = "leave out --transpose" if first else "give --transpose (transpose=True)"
        raise StoreError(
            f"{array.name}: got shape {array.shape} with {given} steps, expected {expected}: the array seems to be "
            f"transposed. If its {'last' if first else 'first'} dimension is that of the checkpoints, {turn}"
        )
    raise StoreError(
        f"{array.name}: got shape {array.shape} with {given} steps, expected {expected} and one step for each of the "
        f"{number:,} checkpoints; {GIVE_STEPS}"
    )


def _part(array: SourceArray, at: int) -> SourceArray:
    """One checkpoint of an array (checkpoints, tokens) or (checkpoints, sequences, positions)."""
    return SourceArray(
        f"{array.name}[{at}]",
        array.shape[1:],
        array.dtype,
        lambda index: array[(slice(at, at + 1), *(index if isinstance(index, tuple) else (index,)))][0],
    )


def _own_step(bundle: Bundle) -> float | None:
    """The step that a checkpoint's arrays say."""
    found = [bundle[name] for name in STEP_NAMES if name in bundle and bundle[name].size == 1]
    return one_step(found[0].name, found[0][...].reshape(())) if found else None


def _columns(shape: tuple[int, ...], bundles: Sequence[Bundle], losses: Sequence[SourceArray]) -> dict[str, Any]:
    """What is known of the tokens: arrays of numbers, not losses, with one for each of them."""
    taken = {array.name for array in losses}
    sizes = {shape, (int(np.prod(shape, dtype=np.int64)),)}
    found = {}
    for name, array in bundles[0].items():
        if array.name in taken or array.shape not in sizes or name in (*STEP_NAMES, *KNOWN_AXES, *LOSS_NAMES):
            continue
        if kind_of(array.dtype) in "iu" or (kind_of(array.dtype) == "f" and name in ("token_frequency",)):
            same = [bundle[name] for bundle in bundles if name in bundle and bundle[name].shape == array.shape]
            found[name] = FlatColumn(name, same)
    return found
