"""Codes: small numbers that files hold, each with what it says in words."""

import enum


class Code(enum.IntEnum):
    """A number and its meaning, written ``NAME = number, "meaning"``.

    Attributes:
        meaning: what is said of whatever has this code.
    """

    meaning: str

    def __new__(cls, number: int, meaning: str) -> "Code":
        """A member is its number; its meaning goes with it."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        return code
