"""From fit stores of the same tokens in several runs to what repeats: one pass over the blocks of all at once."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...curves import FAMILIES, Family
from ...runs import (
    RESAMPLES,
    CompareRuns,
    ComparisonPlan,
    Coordinate,
    RunBlock,
    RunComparison,
    RunComponents,
    RunTokens,
    coordinates_of,
    plan_comparison,
)
from ...store import FitStore, StoreError, StoreLike, open_fits
from ...store.samples import sampled_runs
from ...stream.parts import Part, sequence_numbers, sequence_parts
from ...stream.passes import run_pass
from .tokens import differences_allowed, refuse_other_tokens, refuse_unlike, shared_coordinates, used_axis

_BLOCK_TOKENS = 2**18
#: Bins come from at most so many tokens, in runs of so many.
_SAMPLED_TOKENS, _RUN_TOKENS = 2**18, 2**12


def compare(
    *fits: StoreLike | FitStore,
    components: RunComponents | None = None,
    level: float = 0.9,
    ignore: Sequence[str] = (),
    family: Family | None = None,
    progress: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> RunComparison:
    """Compare fits of the same tokens in several training runs: what of a token repeats, and how closely.

    Each parameter is compared where its error is normal to first order: ``ln(learning_time)`` on a log scale (error
    ``stderr / learning_time``) or the time itself on a linear one, logarithms of rates and exponents, losses in nat.
    Tokens with a finite error in both runs count; of sigmoids those with an event in the window in both, rising and
    falling ones apart. One pass over the blocks of all stores, in bounded memory.

    Args:
        *fits: two or more fit stores of the same family, scale and axis, open or whatever opens as one; checkpoints may
            differ.
        components: how runs differ as found in other runs (`RunComparison.components`), to be judged by these; by
            default they are estimated from these.
        level: probability of the intervals that estimated components make hold.
        ignore: token coordinates that may differ between the stores.
        family: needed only for a family of your own.
        progress: called after each block with the tokens done and all tokens.
        client: adds up in the workers of a cluster; see `tsl_jax.fit_store`.

    Returns:
        `tsl_jax.runs.RunComparison`: per pair of runs and over all pairs the rank correlation of each parameter, its
        differences in units of their errors, coverage of its intervals, what repeats of the categories; and the
        `components` that make errors say how far apart runs lie.

    Raises:
        StoreError: no fit store, one that is not finished, fewer than two or the same twice, other tokens (with the
            first coordinate and row that differ), another family, scale, axis or unit.
        ChunkError: a chunk is corrupted.
        ValueError: a level outside 0 to 1, or components of another family or scale.

    Example:
        >>> import numpy as np, zarr, tsl_jax as tsl
        >>> step, time = np.geomspace(10, 1e4, 32), np.geomspace(50, 2000, 40)[:, None]
        >>> runs = []
        >>> for seed in (0, 1):  # two runs in which each token is learned some 10% sooner or later
        ...     rng, source = np.random.default_rng(seed), zarr.storage.MemoryStore()
        ...     losses = 1 + 5 / (1 + (step / time / np.exp(rng.normal(0, 0.1, time.shape))) ** 3)
        ...     losses = losses + rng.normal(0, 0.05, losses.shape)
        ...     _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        ...     runs.append(zarr.storage.MemoryStore())
        ...     _ = tsl.fit_store(source, runs[-1], tsl.Sigmoid())
        >>> found = tsl.compare(*runs)
        >>> bool(found.all_pairs.of("learning_time").rank_correlation > 0.98)
        True
        >>> bool(0.05 < found.components.find("learning_time", "falling").between_runs < 0.2)
        True
    """
    stores = [one if isinstance(one, FitStore) else open_fits(one) for one in fits]
    refuse_unlike(stores)
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected a probability between 0 and 1")
    shared = shared_coordinates(stores, ignore)
    plan = comparison_plan(stores, family, None if components is None else components.time_edges)
    if components is not None:
        components.check(plan.coordinates, plan.event)
    job = CompareStores(plan, tuple(store.name for store in stores), components, level, tuple(stores), tuple(shared))
    found = run_pass(job, sequence_parts(stores[0], _BLOCK_TOKENS), progress=progress, client=client)
    said = {"axis_name": stores[0].axis_name, "scale": stores[0].scale}
    return dataclasses.replace(found, notes=differences_allowed(stores, shared), **said)


@dataclasses.dataclass(frozen=True)
class CompareStores(CompareRuns):
    """The pass over the fit stores of several runs at once.

    Attributes:
        stores: open, of the same tokens.
        shared: token coordinates that have to agree.
    """

    stores: tuple[FitStore, ...] = ()
    shared: tuple[str, ...] = ()

    def read(self, part: Part) -> RunBlock:
        """The fits of some tokens in each run; raises `StoreError` where they are other tokens."""
        refuse_other_tokens(self.stores, self.shared, part.tokens)
        group = _group_of(sequence_numbers(self.stores[0], part))
        return RunBlock([read_tokens(store, part.tokens) for store in self.stores], group)


def comparison_plan(
    stores: Sequence[FitStore], family: Family | None = None, component_edges: Sequence[float] | None = None
) -> ComparisonPlan:
    """Coordinates and bins of a comparison, from a sample of the tokens, and between learning times as given.

    Raises:
        StoreError: the family is not known.
    """
    axis = used_axis(stores[0])
    sample = [_sample(store) for store in stores]
    window = float(axis[0]), float(axis[-1])
    return plan_comparison(sample, *comparison_coordinates(stores[0], family), window, component_edges)


def comparison_coordinates(store: FitStore, family: Family | None = None) -> tuple[dict[str, Coordinate], str | None]:
    """The coordinate of each parameter, and the parameter at which an event happens.

    Raises:
        StoreError: the family is not known.
    """
    if family is None and store.family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise StoreError(f"{store.name}: family {store.family!r} is none of {known}; pass your Family object as family")
    axis = used_axis(store)
    units = {name: str(store.arrays[name].attrs.get("units")) for name in store.parameters}
    return coordinates_of(units, store.scale, axis[-1] - axis[0]), (family or FAMILIES[store.family]).event


def read_tokens(store: FitStore, tokens: slice) -> RunTokens:
    """What is compared of consecutive tokens of a store."""

    def column(name: str) -> np.ndarray:
        return store.read_array(store.arrays[name], tokens.start, tokens.stop)

    return RunTokens(
        {name: column(name) for name in store.parameters},
        {name: column(f"{name}_stderr") for name in store.parameters},
        column("status"),
        column("category"),
    )


def _group_of(sequence: np.ndarray) -> np.ndarray:
    """One of `RESAMPLES` (2³) groups, alike for all tokens of a sequence: the upper bits of Knuth's product."""
    return ((sequence.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(61)).astype(np.int64) % RESAMPLES


def _sample(store: FitStore) -> RunTokens:
    """All tokens of a store, or a sample of them."""
    parts = [read_tokens(store, run) for run in sampled_runs(store.num_tokens, _RUN_TOKENS, _SAMPLED_TOKENS)]
    params, stderr = (
        {name: np.concatenate([getattr(part, kind)[name] for part in parts]) for name in store.parameters}
        for kind in ("params", "stderr")
    )
    status, category = (np.concatenate([getattr(part, name) for part in parts]) for name in ("status", "category"))
    return RunTokens(params, stderr, status, category)
