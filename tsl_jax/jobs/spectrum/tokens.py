"""The pass behind a spectrum: events, groups, errors, and the losses of the same tokens."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from ...curves import Sigmoid
from ...spectrum import SpectrumGrid, TimeErrors, block_rows
from ...spectrum.tallies import DeviceTally, HostTally, tally_on
from ...store import FitStore, LossStore, StoredFit, decode_probability
from ...stream.ahead import in_order
from ...stream.parts import Part, sequence_numbers
from ..group_sums import TwoSums, loss_rows
from ..positions import PositionLosses, PositionSums
from .losses import LossSums, add_losses, check_tokens
from .token_groups import Grouping

#: What a spectrum needs of a fit store; other standard errors, rss and r2 stay on the disk.
_ARRAYS = (
    *("learning_time", "learning_time_stderr", "sharpness", "loss_drop", "final_loss"),
    *("constant", "status", "category"),
)


class TokenSums(NamedTuple):
    """What is added up: events by bin, errors of learning times, losses where there are any, and those by position."""

    tally: HostTally | DeviceTally
    errors: TimeErrors
    losses: LossSums | None
    positions: TwoSums | None


class FoundTokens(NamedTuple):
    """What the sums say; losses by position where they were asked for."""

    tally: HostTally | DeviceTally
    errors: TimeErrors
    losses: LossSums | None
    positions: PositionLosses | None


class ReadTokens(NamedTuple):
    """Fits of some tokens, the numbers of their sequences, and of their groups by the name of the coordinate."""

    part: Part
    stored: StoredFit
    sequence: np.ndarray
    groups: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SpectrumPass:
    """The pass over a fit store, and over its losses if given.

    Attributes:
        fits: an open fit store of sigmoids.
        family: theirs.
        grid: the bins.
        groupings: by the name of the token coordinate.
        losses: of the same tokens, and of another run likewise; None: not asked for.
        columns: (checkpoints used,) of the losses.
        positions: a pass that takes the same losses as they are read, so that one walk is enough for both.
    """

    fits: FitStore
    family: Sigmoid
    grid: SpectrumGrid
    groupings: dict[str, Grouping]
    losses: tuple[LossStore | None, LossStore | None]
    columns: np.ndarray
    positions: PositionSums | None = None

    @property
    def rows(self) -> int:
        """Most tokens of a part: blocks are padded to as many."""
        return min(tally_on(jax.default_backend()).most, 1 << max(self.fits.num_tokens - 1, 0).bit_length())

    def read(self, part: Part) -> ReadTokens:
        """The fits of some tokens; raises `StoreError` where the other run has other tokens."""
        if self.losses[1] is not None:
            check_tokens(self.losses[1], self.fits, part.tokens)
        groups = {
            name: grouping.of(self.fits.read_coordinate(name, part.tokens)) for name, grouping in self.groupings.items()
        }
        stored = read_fits(self.fits, part.tokens, second=self.losses[0] is not None)
        return ReadTokens(part, stored, sequence_numbers(self.fits, part), groups)

    def start(self) -> TokenSums:
        """Sums of no tokens."""
        tally = tally_on(jax.default_backend())(
            self.grid, {name: len(one.labels) for name, one in self.groupings.items()}
        )
        measured, other = self.losses
        sums = None
        if measured is not None:
            sums = LossSums.zeros(self.grid.resamples, len(self.columns), other_run=other is not None)
        positions = None if self.positions is None else self.positions.start()
        return TokenSums(tally, TimeErrors.empty(self.grid), sums, positions)

    def add(self, sums: TokenSums, block: ReadTokens) -> TokenSums:
        """Sums with more tokens; their losses are read here, a few ahead, as those of a whole part are many."""
        stored = block.stored
        rows = block_rows(stored.params, stored.constant, stored.status, stored.category, block.sequence)
        resample = sums.tally.add(rows, self.rows, block.groups)
        errors = sums.errors.added(self.grid, stored.params, stored.stderr, stored.status, stored.category, resample)
        return self._add_losses(sums._replace(errors=errors), block, resample)

    def _add_losses(self, sums: TokenSums, block: ReadTokens, resample: np.ndarray) -> TokenSums:
        stores = [store for store in self.losses if store is not None]
        if sums.losses is None:
            return sums
        axis, positions = self.fits.axis()[self.columns], sums.positions
        columns = slice(None) if len(self.columns) == self.fits.num_checkpoints else self.columns
        whole, rows = block.part, loss_rows(stores[0])
        parts = [Part(at, min(at + rows, whole.stop)) for at in range(whole.start, whole.stop, rows)]
        for part, measured in in_order(lambda part: [store.read(part.tokens) for store in stores], parts):
            here = slice(part.start - whole.start, part.stop - whole.start)
            used = [values[:, columns] for values in measured]
            add_losses(sums.losses, used, self.family, axis, block.stored[here], resample[here])
            if self.positions is not None and positions is not None:
                places = self.positions.positions(part)
                positions = self.positions.add(positions, (measured[0], places, block.sequence[here]))
        return sums._replace(positions=positions)

    def merge(self, one: TokenSums, other: TokenSums) -> TokenSums:
        """Sums of both."""
        losses = one.losses
        if losses is not None and other.losses is not None:
            losses.merge(other.losses)
        positions = one.positions
        if self.positions is not None and positions is not None and other.positions is not None:
            positions = self.positions.merge(positions, other.positions)
        tally = one.tally.merge(other.tally)  # type: ignore[arg-type]
        return TokenSums(tally, one.errors + other.errors, losses, positions)

    def finish(self, sums: TokenSums) -> FoundTokens:
        """The sums themselves, and what those by position say."""
        positions = sums.positions
        found = None if self.positions is None or positions is None else self.positions.finish(positions)
        return FoundTokens(sums.tally, sums.errors, sums.losses, found)


def read_fits(fits: FitStore, tokens: slice, second: bool) -> StoredFit:
    """What a spectrum needs of some tokens; whether a second event is likely only where it is asked for."""
    names = (*_ARRAYS, "second_event") if second else _ARRAYS
    values = {name: fits.read_array(fits.arrays[name], tokens.start, tokens.stop) for name in names}
    nothing = np.empty(0)
    return StoredFit(
        params={name: values[name] for name in Sigmoid().names},
        stderr={"learning_time": values["learning_time_stderr"]},
        rss=nothing,
        r2=nothing,
        num_points=nothing,
        status=values["status"],
        category=values["category"],
        constant=values["constant"],
        noise_correlation=nothing,
        effective_points=nothing,
        probabilities={},
        second_event=decode_probability(values["second_event"]) if second else None,
    )
