"""The frontier of many runs: the best run at each budget, as one loss store whose axis is the budget."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..store import LossPlan, LossStore, StoreError, StoreLike, begin_losses, locate, open_losses
from ..store.unfinished import checked_dtype, refuse_present
from ..stream.parts import parts_of
from ..stream.passes import run_pass
from .competing_runs import CompetingRun, FirstDifference, LastLosses
from .output import clear, is_finished

#: What a run spends, as attribute of its store and as axis of the frontier.
AXES = {"data_budget": "tokens trained on", "flops_per_token": "FLOP per token"}
#: Coordinates that must be the same in all runs, where all have them; the first must be there.
_COMPARED = ("token_id", "sequence", "position", "domain")
_OWN = ("tsl_kind", "tsl_version", "coordinates", "collected", *AXES)
_BLOCK_BYTES = 2**26


def frontier(
    runs: Sequence[StoreLike | LossStore],
    out: StoreLike,
    *,
    axis: Literal["data_budget", "flops_per_token"] = "data_budget",
    dtype: Any = None,
    overwrite: bool = False,
) -> LossStore:
    """Take the best run at each budget, and write their final losses as one loss store over the budget.

    The best has the lowest mean loss at its last checkpoint, over the tokens that all runs of that budget measured
    then. Each run is read twice, the best ones a third time; memory does not grow with them.

    Args:
        runs: loss stores of the same validation tokens. What a run spent is a number in its group attributes, under the
            name of the axis. Runs of one budget compete.
        out: where the loss store goes: a path, a URL or a Zarr store.
        axis: ``"data_budget"``, D, tokens trained on; or ``"flops_per_token"``, M, the model's FLOP per token.
        dtype: of the losses; the widest of the runs by default.
        overwrite: replace a loss store that is there.

    Returns:
        The open loss store: one checkpoint a budget, with coordinates ``axis``, `mean_loss` and `last_step`; its
        attribute `runs` names the runs.

    Raises:
        StoreError: a run does not say its budget, the tokens of runs differ (it says which and where), no run of a
            budget has a loss, or something is at the output already.

    Example:
        >>> import numpy as np, zarr
        >>> from tsl_jax.store import create_losses
        >>> def run(budget, loss):
        ...     given = {"checkpoints": {"step": [1, 2]}, "tokens": {"token_id": [5, 6]}}
        ...     final = np.array([[9.0, loss], [9.0, loss]])
        ...     return create_losses(zarr.storage.MemoryStore(), final, **given, attributes={"data_budget": budget})
        >>> best = frontier([run(1e9, 3.5), run(1e8, 4.0), run(1e9, 3.0)], zarr.storage.MemoryStore())
        >>> best.axis("data_budget").tolist(), best.read()[0].tolist()
        ([100000000.0, 1000000000.0], [4.0, 3.0])

    Source: the axes D and M of arXiv 2606.29858.
    """
    if axis not in AXES:
        raise StoreError(f"axis: got {axis!r}, expected one of {', '.join(map(repr, AXES))}")
    opened = [run if isinstance(run, LossStore) else open_losses(run) for run in runs]
    if not opened:
        raise StoreError("runs: got none, expected at least one loss store")
    found = [CompetingRun(store, _budget(store, axis)) for store in opened]
    location = locate(out, writable=True)
    if any(location.store == run.location.store and location.path == run.location.path for run in opened):
        raise StoreError(f"{location.name}: the output is one of the runs; give another place")
    if not (overwrite and is_finished(location)):
        refuse_present(location)
    _check_tokens(opened)
    best = _best(found)
    if overwrite:
        clear(location)
    return _write(location, axis, opened[0], best, checked_dtype(dtype or np.result_type(*(s.losses for s in opened))))


def _write(
    location: Any, axis: str, first: LossStore, best: list[tuple[CompetingRun, float]], dtype: np.dtype
) -> LossStore:
    checkpoints = {
        axis: np.array([run.budget for run, _ in best]),
        "mean_loss": np.array([mean for _, mean in best]),
        "last_step": np.array([_last_step(run.store) for run, _ in best]),
    }
    stores = [run.store for run, _ in best]
    shared = {
        name: value
        for name, value in first.attributes.items()
        if name not in _OWN and all(store.attributes.get(name) == value for store in stores)
    }
    tokens = first.token_coordinates
    unfinished = begin_losses(
        location,
        LossPlan(
            (first.num_tokens, len(best)),
            dtype,
            checkpoints=checkpoints,
            tokens={name: (array.dtype, array.attrs.asdict()) for name, array in tokens.items()},
            attributes={**shared, "runs": [store.name for store in stores], "axis": axis, "axis_unit": AXES[axis]},
        ),
    )
    most = max(store.num_checkpoints for store in stores)
    for start, stop in unfinished.blocks(_BLOCK_BYTES * len(best) // most):
        losses = np.stack([run.last(start, stop) for run, _ in best], axis=1)
        part = slice(start, stop)
        unfinished.write(start, losses, {name: first.read_coordinate(name, part) for name in unfinished.tokens})
    return unfinished.finish()


def _budget(store: LossStore, axis: str) -> float:
    value = store.attributes.get(axis)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise StoreError(
            f"{store.name}: attribute {axis!r} is {value!r}, expected a positive number, the {AXES[axis]}. Set it: "
            f"zarr.open_group(store, mode='r+').attrs[{axis!r}] = ..."
        )
    return float(value)


def _last_step(store: LossStore) -> float:
    return float(store.checkpoint_coordinates.get("step", [math.nan])[-1])


def _check_tokens(stores: list[LossStore]) -> None:
    """Raise unless all runs measured the same tokens, with the first difference of each that did not."""
    first, *others = stores
    for store in stores:
        if not store.num_checkpoints or not store.num_tokens:
            raise StoreError(f"{store.name}: has no losses; leave it out")
        if _COMPARED[0] not in store.token_coordinates:
            raise StoreError(
                f"{store.name}: its tokens have no {_COMPARED[0]!r}, so nothing says that they are those of the other "
                "runs; write it with create_losses(..., tokens={'token_id': ...})"
            )
    names = [name for name in _COMPARED if all(name in store.token_coordinates for store in stores)]
    unlike = [words for store in others if (words := _first_difference(first, store, names))]
    if unlike:
        listing = "\n".join(f"  - {words}" for words in unlike)
        raise StoreError(f"runs: their tokens differ from those of {first.name}:\n{listing}\nLeave these runs out.")


def _first_difference(first: LossStore, other: LossStore, names: list[str]) -> str:
    if other.num_tokens != first.num_tokens:
        return f"{other.name}: {other.num_tokens:,} tokens, expected {first.num_tokens:,}"
    found = run_pass(FirstDifference(first, other, tuple(names)), parts_of(first, _BLOCK_BYTES // 8))
    if found is None:
        return ""
    name, token, got, wanted = found
    return f"{other.name}: token {token} has {name} {got}, expected {wanted}"


def _best(runs: list[CompetingRun]) -> list[tuple[CompetingRun, float]]:
    """The run with the lowest mean loss at each budget, and that mean, by budget."""
    best = []
    for budget in sorted({run.budget for run in runs}):
        rivals = [run for run in runs if run.budget == budget]
        counts = np.array([_sums([run])[1] for run in rivals])
        rivals = [run for run, count in zip(rivals, counts, strict=True) if count]
        if not rivals:
            raise StoreError(
                f"runs: none at {budget:g} has a finite loss at its last checkpoint; leave that budget out"
            )
        sums, count = _sums(rivals)
        if not count:
            names = ", ".join(run.store.name for run in rivals)
            raise StoreError(f"runs: no token has a loss in all runs at {budget:g} ({names}); leave some out")
        winner = int(np.argmin(sums))
        best.append((rivals[winner], float(sums[winner] / count)))
    return best


def _sums(runs: list[CompetingRun]) -> tuple[np.ndarray, int]:
    """Sums of the last losses over the tokens that all these runs measured, (runs,), and the number of tokens."""
    most = max(run.store.num_checkpoints for run in runs)
    return run_pass(LastLosses(tuple(runs)), parts_of(runs[0].store, max(1, _BLOCK_BYTES // (8 * most))))
