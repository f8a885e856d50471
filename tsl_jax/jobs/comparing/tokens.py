"""Whether fit stores are runs of the same tokens, and in which ways they may differ."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...store import BlockState, FitStore, StoreError

_SAME = {
    "family": "fit both with the same family",
    "scale": "fit both on the same scale",
    "axis": "fit both over the same axis",
}


def refuse_unlike(stores: Sequence[FitStore]) -> None:
    """Raise unless these are finished fits of the same law to as many tokens, each of another run.

    Raises:
        StoreError: what differs from the first store, and the way out.
    """
    if len(stores) < 2:
        raise StoreError(f"fits: got {len(stores)} store, expected at least two runs of the same tokens")
    first = stores[0]
    if first.num_tokens == 0:
        raise StoreError(f"{first.name}: it has no tokens, so there is nothing to compare")
    for number, store in enumerate(stores):
        pending = int(np.sum(store.ledger.states == BlockState.PENDING))
        if pending:
            raise StoreError(
                f"{store.name}: {pending} of {len(store.ledger.states)} blocks are not fitted yet; run the fit again "
                "to go on, then compare"
            )
        for other in stores[:number]:
            _refuse_same(other, store)
        for name, cure in _SAME.items():
            one, two = first.attributes[name], store.attributes[name]
            if one != two:
                raise StoreError(f"{store.name}: {name} {two!r}, but {one!r} in {first.name}; {cure}")
        one, two = _units(first), _units(store)
        if one != two:
            raise StoreError(
                f"{store.name}: parameters {_listed(two)}, but {_listed(one)} in {first.name}; runs are compared "
                "parameter by parameter, in the same units"
            )
        if store.num_tokens != first.num_tokens:
            raise StoreError(
                f"{store.name}: {store.num_tokens:,} tokens, but {first.num_tokens:,} in {first.name}; runs are "
                "compared token by token, so collect both on the same tokens"
            )


def refuse_other_tokens(stores: Sequence[FitStore], names: Sequence[str], tokens: slice) -> None:
    """Raise unless the coordinates of consecutive tokens are the same in all stores.

    Args:
        stores: of runs of the same tokens.
        names: of the coordinates.
        tokens: which tokens.

    Raises:
        StoreError: the first coordinate and the first row that differ, with both values.
    """
    for name in names:
        want = stores[0].read_coordinate(name, tokens)
        for store in stores[1:]:
            found = store.read_coordinate(name, tokens)
            same = (want == found) | ((want != want) & (found != found))
            if not np.all(same):
                row = int(np.argmin(same))
                raise StoreError(
                    f"{store.name}: other tokens than {stores[0].name}: {name!r} of token {tokens.start + row} is "
                    f"{found[row]}, but {want[row]} there. Compare runs of the same tokens in the same order; if they "
                    f"are, and only this coordinate differs, leave it out with ignore=[{name!r}] (--ignore {name})."
                )


def shared_coordinates(stores: Sequence[FitStore], ignore: Sequence[str] = ()) -> list[str]:
    """Token coordinates that all stores have, by which tokens are told.

    Raises:
        StoreError: one that is to be ignored exists in no store.
    """
    known = [set(store.token_coordinates) for store in stores]
    for name in ignore:
        if not any(name in names for names in known):
            listed = ", ".join(sorted(set().union(*known))) or "none"
            raise StoreError(f"ignore: got {name!r}, expected a token coordinate of the stores: {listed}")
    return [name for name in sorted(set.intersection(*known)) if name not in ignore]


def differences_allowed(stores: Sequence[FitStore], shared: Sequence[str]) -> tuple[str, ...]:
    """What differs between stores and does not keep them from being compared, one sentence each."""
    first, notes = stores[0], []
    if not shared:
        notes.append(
            "No token coordinate is in all stores, so nothing but their number says that the tokens are the same."
        )
    for store in stores[1:]:
        if not np.array_equal(used_axis(first), used_axis(store)):
            notes.append(f"Other checkpoints: {_checkpoints(first)}; {_checkpoints(store)}.")
        options = sorted(
            name
            for name in {*first.options, *store.options} - {"kernel", "block_size"}
            if first.options.get(name) != store.options.get(name)
        )
        if options:
            listed = ", ".join(f"{name} {first.options.get(name)} and {store.options.get(name)}" for name in options)
            notes.append(f"Other options of the fits in {first.name} and {store.name}: {listed}.")
        apart = sorted(set(first.token_coordinates) ^ set(store.token_coordinates))
        if apart:
            notes.append(f"Only in one of {first.name} and {store.name}, and not compared: {', '.join(apart)}.")
    return tuple(notes)


def used_axis(store: FitStore) -> np.ndarray:
    """Axis values of the checkpoints that were fitted."""
    return np.delete(store.axis(), store.left_out_checkpoints)


def _refuse_same(one: FitStore, two: FitStore) -> None:
    if one.location.store == two.location.store and one.location.path == two.location.path:
        raise StoreError(f"{two.name}: given twice; a run says nothing of how it differs from another")
    digests = one.ledger.digests, two.ledger.digests
    if np.array_equal(*digests) and np.all(digests[0] != 0):
        raise StoreError(
            f"{two.name}: made from the same losses as {one.name} (the digests of all blocks agree): one run fitted "
            "twice. Compare fits of two training runs, of other seeds, say"
        )


def _units(store: FitStore) -> dict[str, Any]:
    return {name: store.arrays[name].attrs.get("units") for name in store.parameters}


def _listed(units: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({unit})" for name, unit in units.items())


def _checkpoints(store: FitStore) -> str:
    axis = used_axis(store)
    return f"{len(axis)} from {store.axis_name} {axis[0]:g} to {axis[-1]:g} in {store.name}"
