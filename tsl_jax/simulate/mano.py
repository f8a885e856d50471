"""Mano: modular arithmetic in prefix notation, whose answers need more and more steps."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from . import checks

#: How many operations an expression may have, so that a sequence stays short.
_MOST_LENGTH, _MOST_MODULUS = 64, 1021
#: +, - and ×.
OPERATIONS = 3


@dataclasses.dataclass(frozen=True)
class Mano:
    """Prefix expressions of +, - and × over the integers modulo a number, and their values.

    An expression of length L has L operations and L + 1 numbers; its tree is uniform over all binary trees, its
    operations and numbers are uniform. A sequence is

        ``start, expression, equals, answer``, and then ``padding`` to the longest.

    Token ids: the numbers 0 to modulus - 1 as themselves, then those of +, -, ×, `equals`, `start` and `padding`.

    Args:
        modulus: of the arithmetic.
        lengths: least and greatest L.
        weighting: ``"uniform"``: all lengths equally often; ``"inverse_square"``: as ``L^-2``.

    Raises:
        ValueError: a modulus below 2, lengths that are none, or another weighting.

    Example:
        >>> task = Mano(modulus=23, lengths=(1, 10))
        >>> task.vocabulary, task.context, task.words([27, 24, 4, 6, 26, 21, 28])
        (29, 24, 'start - 4 6 = 21 padding')

    Source: arXiv 2606.29858. The tokens around an expression, the uniform trees, and L as a count of operations are
    this package's reading of it.
    """

    modulus: int = 23
    lengths: tuple[int, int] = (1, 10)
    weighting: Literal["uniform", "inverse_square"] = "uniform"

    def __post_init__(self) -> None:
        checks.whole("modulus", self.modulus, 2, _MOST_MODULUS)
        if np.shape(self.lengths) != (2,):
            raise ValueError(f"lengths: got {self.lengths!r}, expected the least and the greatest")
        low, high = (checks.whole("lengths", length, 1, _MOST_LENGTH) for length in self.lengths)
        if low > high:
            raise ValueError(f"lengths: got {low} to {high}, expected the least first")
        checks.choice("weighting", self.weighting, ("uniform", "inverse_square"))

    @property
    def plus(self) -> int:
        """Token of +; those of - and × follow."""
        return self.modulus

    @property
    def equals(self) -> int:
        """Token before the answer."""
        return self.modulus + OPERATIONS

    @property
    def start(self) -> int:
        """First token."""
        return self.modulus + OPERATIONS + 1

    @property
    def padding(self) -> int:
        """Token after the answer."""
        return self.modulus + OPERATIONS + 2

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.modulus + OPERATIONS + 3

    @property
    def context(self) -> int:
        """Tokens of a sequence: a start, 2·L + 1 of the longest expression, equals, the answer."""
        return 2 * self.lengths[1] + 4

    def words(self, tokens) -> str:
        """A sequence for people."""
        names = (*map(str, range(self.modulus)), "+", "-", "×", "=", "start", "padding")
        return " ".join(names[int(token)] for token in tokens)


def length_probabilities(task: Mano) -> Float[np.ndarray, " lengths"]:
    """(lengths,) how often each length from the least to the greatest occurs."""
    length = np.arange(task.lengths[0], task.lengths[1] + 1)
    weight = np.ones(len(length)) if task.weighting == "uniform" else length**-2.0
    return weight / weight.sum()
