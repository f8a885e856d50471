"""What the analysis of a spectrum brings: options, curves, numbers."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from ...pytrees import pytree
from ...spectrum import (
    Bands,
    BinningBound,
    Broadening,
    Comparison,
    Decomposition,
    PulseGroups,
    PulseModes,
    Rival,
    SecondEvents,
    Tail,
)
from .reading import StoreSpectrum
from .token_groups import Grouping


@dataclasses.dataclass(frozen=True)
class AnalysisOptions:
    """How a spectrum is analysed.

    Args:
        weighting: of p and g, by ``"count"`` or by ``"drop"``; see `tsl_jax.spectrum.decompose`.
        outside: rule for events outside the window, ``"own"``, ``"edge"`` or ``"inside"``; likewise.
        pulse_groups: groups by learning time whose mean pulses are compared.
        bandwidth: half the width of the kernel that smooths derivatives, as a fraction of the window.
        replicates: replicates of the bootstrap.
        level: fraction of the replicates inside a band.
        seed: of the bootstrap.

    Raises:
        ValueError: an option outside its range.
    """

    weighting: Literal["count", "drop"] = "count"
    outside: Literal["own", "edge", "inside"] = "own"
    pulse_groups: int = 40
    bandwidth: float = 0.1
    replicates: int = 200
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("weighting", ("count", "drop")), ("outside", ("own", "edge", "inside"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"AnalysisOptions.{name}: got {getattr(self, name)!r}, expected one of {allowed}")
        for name, least in (("pulse_groups", 2), ("replicates", 20)):
            if getattr(self, name) < least:
                raise ValueError(f"AnalysisOptions.{name}: got {getattr(self, name)}, expected at least {least}")
        for name in ("level", "bandwidth"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"AnalysisOptions.{name}: got {getattr(self, name)}, expected between 0 and 1")


@pytree
class Curves:
    """What is computed of all tokens and of each replicate.

    Attributes:
        parts: p, g, p * g and the implied derivative.
        density: (parts, bins) p on wider bins, as many as the data can fill, 1/u.
        implied_loss: (times + 1,) mean loss of the spectrum at the borders of its bins, nat.
        pulses: mean pulses by learning time; ``pulse`` is averaged over wider lag bins, see `coarse_lags`.
        modes: `PulseModes` of ``"all pulses"``, ``"unit area"`` and ``"group means"``.
        tails: `Tail` by ``"count"`` and by ``"drop"``.
        outside: fraction of the visible drops that belongs to events outside the window.
        broadening: of ``density`` by the errors of learning times.
        mean_loss: (checkpoints,) of the measured losses, nat; None without losses, as the next three.
        mean_fit: (checkpoints,) of the fits, nat.
        comparison: of the spectrum with the mean loss.
        second: tokens with a likely second event in what sigmoids miss of the mean loss.
    """

    parts: Decomposition
    density: Float[np.ndarray, "parts bins"]
    implied_loss: Float[np.ndarray, " edges"]
    pulses: PulseGroups
    modes: dict[str, PulseModes]
    tails: dict[str, Tail]
    outside: Float[np.ndarray, ""]
    broadening: Broadening
    mean_loss: Float[np.ndarray, " checkpoints"] | None
    mean_fit: Float[np.ndarray, " checkpoints"] | None
    comparison: Comparison | None
    second: SecondEvents | None


@dataclasses.dataclass(frozen=True)
class GroupResult:
    """Learning times of the groups of one coordinate; the last row are tokens of no group.

    Attributes:
        grouping: the coordinate and its groups.
        times: `Bands` of `tsl_jax.spectrum.GroupTimes`, with ``spectrum`` on wider bins.
        tokens: of each group, tokens by kind, exactly.
    """

    grouping: Grouping
    times: Bands
    tokens: list[dict[str, int]]


@dataclasses.dataclass(frozen=True)
class Analysis:
    """A spectrum analysed; what cannot be had is NaN or None, and `reasons` says why.

    Attributes:
        read: what was analysed.
        options: how.
        checkpoints: which checkpoints of ``read.axis`` have a mean loss.
        curves: `Bands` of `Curves`.
        mean_loss_law: `Bands` of the parameters of ``coefficient·a^-exponent + floor``, fitted to the mean loss
            (measured, else of the fits) from the start of the tail on.
        goodness: probability of a worse fit if the tail were a power law.
        rivals: other laws for the tail, by name.
        bound: on the error from binning.
        groups: by the name of the token coordinate.
        resamples: groups of sequences with tokens.
        reasons: sentences.
    """

    read: StoreSpectrum
    options: AnalysisOptions
    checkpoints: np.ndarray
    curves: Bands
    mean_loss_law: Bands
    goodness: float
    rivals: dict[str, Rival]
    bound: BinningBound
    groups: dict[str, GroupResult]
    resamples: int
    reasons: tuple[str, ...]

    @property
    def events(self) -> int:
        """Events inside the window."""
        return self.read.spectrum.tokens["LEARNED"]
