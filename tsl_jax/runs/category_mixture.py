"""Whether a token of several runs has an event, and the probabilities of its categories."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..fitting import EVENT_CATEGORIES, Category
from ..fitting.statistics import probabilities_of
from .coordinates import Coordinate
from .tokens import FittedTokens, TokenKind

#: Kinds of tokens with an event.
EVENT_KINDS = (TokenKind.FALLS, TokenKind.RISES, TokenKind.EARLY, TokenKind.LATE)


class CombinedCategories(NamedTuple):
    """Categories of combined tokens, arrays (tokens,)."""

    probabilities: dict[str, Float[np.ndarray, " tokens"]]  # by name (`EVENT_CATEGORIES`); NaN without a fit
    category: UInt8[np.ndarray, " tokens"]


def event_chances(
    fits: Sequence[FittedTokens], kinds: UInt8[np.ndarray, "runs tokens"]
) -> Float[np.ndarray, " tokens"]:
    """Probability that a token has an event: the mean of its runs with a fit; NaN without any.

    A run that does not say how probable its categories are is sure of them: the mean is then the fraction of runs that
    found an event.
    """
    fitted, chances = kinds != TokenKind.NO_FIT, []
    for one, kind in zip(fits, kinds, strict=True):
        likely = getattr(one, "probabilities", None) or {}
        sure = np.isin(kind, EVENT_KINDS).astype(np.float64)
        known = 1 - np.asarray(likely["unlearned"], np.float64) if likely else sure
        chances.append(np.where(np.isfinite(known), known, sure))
    number = fitted.sum(axis=0)
    total = np.sum(np.where(fitted, np.stack(chances), 0), axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def used_runs(
    kinds: UInt8[np.ndarray, "runs tokens"],
    drops: Float[np.ndarray, "runs tokens"],
    chances: Float[np.ndarray, " tokens"] | None,
) -> tuple[Bool[np.ndarray, "runs tokens"], Bool[np.ndarray, " tokens"]]:
    """Which runs are used, and whether the loss rises there.

    Args:
        kinds: what a token is in each run.
        drops: of the loss.
        chances: of an event, see `event_chances`; None for families without events.
    """
    if chances is None:
        return kinds == TokenKind.FITTED, np.zeros(kinds.shape[1], bool)
    event, none = np.isin(kinds, EVENT_KINDS), kinds == TokenKind.UNLEARNED
    # Half a thousandth below one half: what is stored in 254ths says no more.
    wanted = np.where(np.isfinite(chances), chances, 0) >= 0.4995
    chosen = np.where((wanted & event.any(axis=0)) | ~none.any(axis=0), event, none)
    up, down = (np.sum(chosen & side, axis=0) for side in (drops < 0, drops >= 0))
    rises = np.where(up == down, np.sum(np.where(chosen, drops, 0), axis=0) < 0, up > down)
    return chosen & ((drops < 0) == rises), rises


def combined_categories(
    chances: Float[np.ndarray, " tokens"],
    time: tuple[Float[np.ndarray, " tokens"], Float[np.ndarray, " tokens"]],
    coordinate: Coordinate,
    window: tuple[float, float],
    freedom: Float[np.ndarray, " tokens"],
) -> CombinedCategories:
    """Probabilities of categories: that of an event, times that of its place; the likeliest is the category.

    Args:
        chances: of an event; NaN without a fit.
        time: combined learning times and their errors, axis units.
        coordinate: of learning times.
        window: first and last checkpoint, axis units.
        freedom: degrees of freedom of the errors.
    """
    (first, last), _ = coordinate.of(np.asarray(window, np.float64), np.ones(2))
    y, error = coordinate.of(*time)
    known = np.isfinite(chances)
    place = np.where(np.isfinite(y), y, (first + last) / 2)
    likely = probabilities_of(np.where(known, chances, 0), place, error, first, last, freedom)
    probabilities = {name: np.where(known, np.asarray(likely[name], np.float64), np.nan) for name in EVENT_CATEGORIES}
    names = [*EVENT_CATEGORIES[1:], EVENT_CATEGORIES[0]]  # of equal ones an event: runs that found one know of it
    codes = np.array([Category[name.upper()] for name in names], np.uint8)
    likeliest = codes[np.argmax([np.where(known, probabilities[name], 0) for name in names], axis=0)]
    return CombinedCategories(probabilities, np.where(known, likeliest, Category.NONE).astype(np.uint8))
