"""Which tokens are shown together: those of one domain."""

import dataclasses

import numpy as np

from ..store import FitStore
from ..store.code_names import names_of_codes
from .in_memory import MemoryFits

ALL_TOKENS = "all tokens"


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain: its code in the store and its name; ``code`` None stands for all tokens."""

    code: int | None
    name: str

    def rows(self, codes: np.ndarray | None, count: int) -> np.ndarray:
        """Which of ``count`` tokens with these domain codes belong to it, (count,) booleans."""
        if self.code is None or codes is None:
            return np.ones(count, bool)
        return codes == self.code


def domains_of(fits: FitStore | MemoryFits) -> list[Domain]:
    """The domains that a store names in its attribute ``domains``, by code; empty where it has none."""
    names = names_of_codes(fits.attributes, "domain") if "domain" in fits.token_coordinates else []
    return [Domain(code, name) for code, name in enumerate(names)]


def read_domains(fits: FitStore | MemoryFits, tokens: slice) -> np.ndarray | None:
    """Domain codes of consecutive tokens, None where the store has none."""
    return fits.read_coordinate("domain", tokens) if "domain" in fits.token_coordinates else None
