"""What fitted a block: machines and programs of other kinds may differ in the last bits of a fit.

A description is a few words by name, such as the kind of device and the build of the kernel. The ledger holds a number
for each block, a digest of the description, which lies beside the records as ``ledger/fitter-NUMBER``.
"""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from .errors import writing
from .ledger import Ledger
from .location import Location
from .schema import LEDGER


def fitter_number(description: Mapping[str, str]) -> int:
    """63 bits that tell a description from others; never 0."""
    text = json.dumps(dict(description), sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1 or 1


def note_fitter(location: Location, description: Mapping[str, str]) -> int:
    """Keep a description in a fit store, unless it is there; its number."""
    number = fitter_number(description)
    with writing(location.name, _place(number)):
        location.write_object(_place(number), json.dumps(dict(description), sort_keys=True).encode(), unless_there=True)
    return number


def fitter_of(location: Location, number: int) -> dict[str, str]:
    """A description by its number; empty where it is not kept."""
    content = location.read_object(_place(number))
    return {} if content is None else json.loads(content)


def other_fitters(location: Location, ledger: Ledger, description: Mapping[str, str]) -> list[str]:
    """What differs between what fitted the finished blocks and what is described, a sentence for each other one."""
    number, found = fitter_number(description), []
    for other in sorted({int(value) for value in ledger.fitters[ledger.states != 0]} - {0, number}):
        blocks = np.flatnonzero(ledger.fitters == other)
        differs = difference(fitter_of(location, other), description)
        found.append(f"{len(blocks)} blocks, the first of them {blocks[0]}, were fitted with {differs}")
    return found


def difference(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In which words two descriptions differ."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return ", ".join(f"{name} {was.get(name, 'unknown')!r} (now {now.get(name, 'unknown')!r})" for name in names)


def _place(number: int) -> str:
    return f"{LEDGER}/fitter-{number:016x}"
