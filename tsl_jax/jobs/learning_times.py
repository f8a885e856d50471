"""Counts of events by domain and learning time."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from ..curves import Family
from ..fitting import Category, Status
from ..spectrum.pulses import level_reached
from ..store import FitStore, StoreError
from ..stream.parts import Part, parts_of
from ..stream.passes import run_pass
from .domains import ALL_TOKENS, Domain, domains_of, read_domains
from .in_memory import MemoryFits, fits_source
from .predict import family_of

BINS = 40
MOST_DOMAINS = 12
#: Medians are found in bins this many times finer: within a ten-thousandth of the window's width.
_FINER = 256
_BLOCK_TOKENS = 2**20


@dataclasses.dataclass(frozen=True)
class DomainTimes:
    """Events of the tokens of one domain.

    Attributes:
        name: the domain's name.
        tokens: its tokens that were fitted or tried.
        falling: (bins,) tokens `LEARNED` with a loss that falls, by learning time.
        rising: (bins,) the same with a loss that rises.
        categories: tokens per category, by name.
        median: median learning time of the tokens in ``falling``, axis units; NaN without any.
    """

    name: str
    tokens: int
    falling: np.ndarray
    rising: np.ndarray
    categories: dict[str, int]
    median: float


@dataclasses.dataclass(frozen=True)
class LearningTimes:
    """Distribution of events over the window: from the first to the last checkpoint used.

    Attributes:
        edges: (bins + 1,) borders of the bins in axis units, equally wide in the fitted coordinate.
        groups: all tokens first, then each of the first `MOST_DOMAINS` domains.
        axis_name: such as ``"step"``.
        scale: ``"log"`` or ``"linear"``.
    """

    edges: np.ndarray
    groups: tuple[DomainTimes, ...]
    axis_name: str
    scale: str

    def fraction(self, counts: np.ndarray, group: DomainTimes) -> np.ndarray:
        """Counts as the fraction of a group's tokens per bin."""
        return counts / max(1, group.tokens)


def learning_times_data(
    fits: Any, *, bins: int = BINS, family: Family | None = None, time: Any = None, axis: str = "step"
) -> LearningTimes:
    """Count events by domain and time over all fits, streamed.

    Args:
        fits: a fit store, a path of one, or a `Fit`, of a family with events.
        bins: bins over the window.
        family: needed only for a store of a family of your own.
        time: (checkpoints,) axis values, needed only for a `Fit`.
        axis: what to call them.

    Raises:
        StoreError: the family has no event.
    """
    fits = fits_source(fits, time, axis)
    family = family or family_of(fits)
    if family.event is None:
        raise StoreError(f"{fits.name}: family {family.name!r} has no event; expected one such as 'sigmoid'")
    used = np.setdiff1d(np.arange(fits.num_checkpoints), fits.left_out_checkpoints)
    first, last = fits.axis()[used][[0, -1]]
    space = np.geomspace if fits.scale == "log" else np.linspace
    fine = space(first, last, bins * _FINER + 1)
    fine[[0, -1]] = first, last
    return run_pass(CountEvents(fits, family, fine, tuple(_groups(fits))), parts_of(fits, _BLOCK_TOKENS))


@dataclasses.dataclass(frozen=True)
class EventCounts:
    """Counts of tokens, which adding changes.

    Attributes:
        times: (groups, 2, fine bins) LEARNED tokens whose loss falls, and rises, by learning time.
        categories: (groups, categories) tokens.
        tokens: (groups,) tokens that were fitted or tried.
    """

    times: np.ndarray
    categories: np.ndarray
    tokens: np.ndarray


class EventBlock(NamedTuple):
    """What is counted of some tokens: their events, drops where the family has any, codes, and domains."""

    event: np.ndarray
    drop: np.ndarray | None
    status: np.ndarray
    category: np.ndarray
    domain: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class CountEvents:
    """The pass over a fit store that counts events by domain and time.

    Attributes:
        fits: an open fit store.
        family: of the fits, with an event.
        fine: (fine bins + 1,) borders of bins within the bins of the picture.
        groups: what is counted together.
    """

    fits: FitStore | MemoryFits
    family: Family
    fine: np.ndarray
    groups: tuple[Domain, ...]

    def read(self, part: Part) -> EventBlock:
        """What is counted of some tokens; no other array is read."""
        assert self.family.event is not None

        def column(name: str) -> np.ndarray:
            array: Any = self.fits.arrays[name]
            return self.fits.read_array(array, part.start, part.stop)

        drop = column("loss_drop") if "loss_drop" in self.fits.parameters else None
        event = column(self.family.event).astype(np.float64)
        return EventBlock(event, drop, column("status"), column("category"), read_domains(self.fits, part.tokens))

    def start(self) -> EventCounts:
        """Counts of no tokens."""
        number = len(self.groups)
        shapes = (number, 2, len(self.fine) - 1), (number, len(Category)), (number,)
        return EventCounts(*(np.zeros(shape, np.int64) for shape in shapes))

    def add(self, counts: EventCounts, block: EventBlock) -> EventCounts:
        """Counts with more tokens."""
        tried = block.status != Status.PENDING
        rises = block.drop < 0 if block.drop is not None else np.zeros(len(tried), bool)
        # An event that float32 put a hair outside the window still counts in the bin at its end.
        event = np.clip(block.event, self.fine[0], self.fine[-1])
        learned = block.category == Category.LEARNED
        for index, group in enumerate(self.groups):
            rows = group.rows(block.domain, len(event)) & tried
            counts.tokens[index] += rows.sum()
            counts.categories[index] += np.bincount(block.category[rows], minlength=256)[list(Category)]
            for kind, members in enumerate((rows & learned & ~rises, rows & learned & rises)):
                counts.times[index, kind] += np.histogram(event[members], self.fine)[0]
        return counts

    def merge(self, one: EventCounts, other: EventCounts) -> EventCounts:
        """Counts of both."""
        pairs = ((getattr(each, field.name) for each in (one, other)) for field in dataclasses.fields(EventCounts))
        return EventCounts(*(first + second for first, second in pairs))

    def finish(self, counts: EventCounts) -> LearningTimes:
        """The distribution."""
        return LearningTimes(
            edges=self.fine[::_FINER],
            groups=tuple(
                DomainTimes(
                    name=group.name,
                    tokens=int(counts.tokens[index]),
                    falling=counts.times[index, 0].reshape(-1, _FINER).sum(axis=1),
                    rising=counts.times[index, 1].reshape(-1, _FINER).sum(axis=1),
                    categories={c.name: int(n) for c, n in zip(Category, counts.categories[index], strict=True)},
                    median=_median(counts.times[index, 0], self.fine),
                )
                for index, group in enumerate(self.groups)
            ),
            axis_name=self.fits.axis_name,
            scale=self.fits.scale,
        )


def _groups(fits: FitStore | MemoryFits) -> list[Domain]:
    return [Domain(None, ALL_TOKENS), *domains_of(fits)[:MOST_DOMAINS]]


def _median(counts: np.ndarray, edges: np.ndarray) -> float:
    """The median of what is counted in bins, each event alike within its bin; NaN without any."""
    total = counts.sum()
    if total == 0:
        return float("nan")
    return float(np.interp(level_reached(counts, total / 2), np.arange(len(edges)), edges))
