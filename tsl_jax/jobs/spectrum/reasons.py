"""Why some results of an analysis are not there, in sentences."""

import numpy as np

from ...spectrum import Kind
from .reading import StoreSpectrum
from .results import Curves

#: Fewer groups of sequences than this say nothing of how far results would move with others.
LEAST_RESAMPLES = 8
#: Checkpoints that derivatives, and the law of the mean loss, need at least.
LEAST_CHECKPOINTS = 5


def reasons_of(read: StoreSpectrum, curves: Curves, checkpoints: np.ndarray, resamples: int) -> list[str]:
    """Why some results are not there, and what to do about it."""
    tokens = read.spectrum.tokens
    counted = sum(tokens[kind.name] for kind in Kind if kind <= Kind.CONSTANT)
    reasons = []
    if not sum(tokens.values()):
        reasons.append("The store has no tokens.")
    elif not counted:
        most = max(tokens, key=lambda name: tokens[name])
        reasons.append(f"No token has a curve or a constant; most are {most}: {Kind[most].meaning}")
    elif not tokens["LEARNED"]:
        rest = ", ".join(f"{number:,} {name}" for name, number in tokens.items() if number)
        reasons.append(f"No event inside the window ({rest}): there is no spectrum and no pulse.")
    if tokens["PENDING"]:
        reasons.append(
            f"{tokens['PENDING']:,} tokens are not fitted yet and count nowhere: run tsl fit again to go on."
        )
    if tokens["UNUSABLE"]:
        reasons.append(f"{tokens['UNUSABLE']:,} tokens are left out as UNUSABLE: {Kind.UNUSABLE.meaning}")
    if tokens["LEARNED"] and resamples < LEAST_RESAMPLES:
        reasons.append(
            f"No bands: they need tokens in at least {LEAST_RESAMPLES} of {read.spectrum.grid.resamples} groups of "
            f"sequences, these are in {resamples}."
        )
    elif tokens["LEARNED"] and read.sequences == "token":
        reasons.append(
            "The store has no coordinate `sequence` or `position`: every token is resampled by itself, which makes "
            "bands too narrow where tokens of a sequence are alike."
        )
    if tokens["LEARNED"] and not np.isfinite(curves.tails["count"].exponent):
        most = float(curves.tails["count"].events)
        reasons.append(f"No tail: the longest that could be fitted has {most:,.0f} events, expected at least 50.")
    if read.losses is not None and len(checkpoints) < LEAST_CHECKPOINTS:
        reasons.append(
            f"No comparison with the mean loss: {len(checkpoints)} checkpoints have one, expected at least "
            f"{LEAST_CHECKPOINTS}."
        )
    elif counted and curves.comparison is not None and _constant(curves):
        reasons.append("No R² and nothing to explain: the mean loss is the same at all checkpoints.")
    return reasons


def _constant(curves: Curves) -> bool:
    assert curves.comparison is not None
    return not np.isfinite(curves.comparison.scores["mean fit of mean loss"].r2)
