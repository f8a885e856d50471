"""What a token is in a run, and which of its parameters can be compared between runs."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from ..codes import Code
from ..fitting import Category, has_parameters


class FittedTokens(Protocol):
    """Fits of tokens with arrays (tokens,): `tsl_jax.Fit` and `tsl_jax.store.StoredFit` are such."""

    @property
    def params(self) -> Any: ...
    @property
    def stderr(self) -> Any: ...
    @property
    def status(self) -> Any: ...
    @property
    def category(self) -> Any: ...


@dataclasses.dataclass(frozen=True)
class RunTokens:
    """What is compared of the tokens of one run, arrays (tokens,) named as in `tsl_jax.Fit`.

    What combined tokens are weighed by may be left out: a run without probabilities is sure of its categories.
    """

    params: Mapping[str, np.ndarray]
    stderr: Mapping[str, np.ndarray]
    status: np.ndarray
    category: np.ndarray
    probabilities: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    degrees_of_freedom: np.ndarray | None = None


class TokenKind(Code):
    """What a token is in one run: its category, with falling and rising events apart."""

    FALLS = 0, "LEARNED, the loss falls"
    RISES = 1, "LEARNED, the loss rises"
    EARLY = 2, "EARLY"
    LATE = 3, "LATE"
    UNLEARNED = 4, "UNLEARNED"
    NO_FIT = 5, "no fit"
    FITTED = 6, "fitted"


#: Kinds whose parameters are compared, each apart: of families with events, and of those without.
COMPARED = {True: (TokenKind.FALLS, TokenKind.RISES), False: (TokenKind.FITTED,)}


def kinds_of(fits: FittedTokens, has_events: bool) -> UInt8[np.ndarray, " tokens"]:
    """The `TokenKind` of each token.

    Args:
        fits: of one run.
        has_events: whether the family has events.
    """
    fitted = np.asarray(has_parameters(np.asarray(fits.status)))
    if not has_events:
        return np.where(fitted, TokenKind.FITTED, TokenKind.NO_FIT).astype(np.uint8)
    category = np.asarray(fits.category)
    falls = np.asarray(fits.params["loss_drop"]) >= 0 if "loss_drop" in fits.params else np.ones(len(category), bool)
    conditions = [
        ~fitted,
        category == Category.UNLEARNED,
        category == Category.EARLY,
        category == Category.LATE,
        (category == Category.LEARNED) & falls,
        category == Category.LEARNED,
    ]
    kinds = ("NO_FIT", "UNLEARNED", "EARLY", "LATE", "FALLS", "RISES")
    return np.select(conditions, [TokenKind[name] for name in kinds], TokenKind.NO_FIT).astype(np.uint8)
