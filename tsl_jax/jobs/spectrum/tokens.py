"""The pass behind a spectrum: events, groups, errors, and the losses of the same tokens."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from ...curves import Sigmoid
from ...spectrum import SpectrumGrid, TimeErrors, block_rows
from ...spectrum.tallies import DeviceTally, HostTally, tally_on
from ...store import FitStore, LossStore, StoredFit, decode_probability
from ...stream.parts import Part, sequence_numbers
from .losses import LossSums, add_losses, check_tokens
from .token_groups import Grouping

#: What a spectrum needs of a fit store; other standard errors, rss and r2 stay on the disk.
_ARRAYS = (
    *("learning_time", "learning_time_stderr", "sharpness", "loss_drop", "final_loss"),
    *("constant", "status", "category"),
)


class TokenSums(NamedTuple):
    """What is added up: events by bin, errors of learning times, and losses where there are any."""

    tally: HostTally | DeviceTally
    errors: TimeErrors
    losses: LossSums | None


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
    """

    fits: FitStore
    family: Sigmoid
    grid: SpectrumGrid
    groupings: dict[str, Grouping]
    losses: tuple[LossStore | None, LossStore | None]
    columns: np.ndarray

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
        return TokenSums(tally, TimeErrors.empty(self.grid), sums)

    def add(self, sums: TokenSums, block: ReadTokens) -> TokenSums:
        """Sums with more tokens; their losses are read here, a few at a time, as those of a whole part are many."""
        stored = block.stored
        rows = block_rows(stored.params, stored.constant, stored.status, stored.category, block.sequence)
        resample = sums.tally.add(rows, self.rows, block.groups)
        errors = sums.errors.added(self.grid, stored.params, stored.stderr, stored.status, stored.category, resample)
        measured, other = self.losses
        if measured is not None and sums.losses is not None:
            axis = self.fits.axis()[self.columns]
            add_losses(
                sums.losses, (measured, other), block.part.tokens, self.family, axis, self.columns, stored, resample
            )
        return sums._replace(errors=errors)

    def merge(self, one: TokenSums, other: TokenSums) -> TokenSums:
        """Sums of both."""
        losses = one.losses
        if losses is not None and other.losses is not None:
            losses.merge(other.losses)
        return TokenSums(one.tally.merge(other.tally), one.errors + other.errors, losses)  # type: ignore[arg-type]

    def finish(self, sums: TokenSums) -> TokenSums:
        """The sums themselves."""
        return sums


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
