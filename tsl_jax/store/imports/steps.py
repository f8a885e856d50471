"""Training steps of checkpoints: given, read from a file, or the numbers in names."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...arguments import known_array, real_number
from ..errors import StoreError
from ..names import as_store_errors

#: What names call a step.
_NAMED = re.compile(
    r"(?:global_?step|step|checkpoint|ckpt|iteration|iter|update)s?[-_=.@ ]*(\d+(?:e\+?\d{1,2}(?!\w))?)", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?", re.IGNORECASE)
#: Below this every whole number has a float of its own.
_WHOLE = 2**53
#: Coordinates of checkpoints, by the names that files have for them.
STEP_NAMES = ("step", "steps", "global_step", "_step", "training_step", "iteration", "iter")
#: The way to give steps, in words of the command and of Python.
GIVE_STEPS = "give steps with --steps 0,100,1000 or --steps FILE (steps=[0, 100, 1000])"

Steps = Sequence[float] | np.ndarray | Mapping[str, Any] | str | os.PathLike[str]


def step_in(name: str) -> int | None:
    """The step in a name that is a number, or has one after a word such as step, else its last number.

    None where there is none, or no whole one.
    """
    number = number_in(name)
    if number is None:
        found = _NAMED.findall(name) or re.findall(r"\d+", name)
        number = float(found[-1]) if found else None
    return int(number) if number is not None and abs(number) < _WHOLE and number.is_integer() else None


def number_in(name: str) -> float | None:
    """What a name is that is a number, such as ``100``, ``1e3`` or ``5.13``; None if it is none."""
    return float(name) if _NUMBER.fullmatch(name) else None


def one_step(name: str, value: Any) -> int | float:
    """A step that a source holds as a number.

    Raises:
        StoreError: it is no finite number.
    """
    with as_store_errors():
        number = real_number(name, value, "a finite number")
    return int(number) if number.is_integer() else number


def steps_of_paths(paths: Sequence[Path]) -> list[int | None]:
    """The step of each path: in its name, or in that of its folder where the names alone do not tell them apart."""
    found: list[int | None] = [None] * len(paths)
    for names in ([path.stem for path in paths], [path.parent.name for path in paths]):
        steps = [step_in(name) for name in names]
        if None not in steps and len(set(steps)) == len(steps):
            return steps
        if None not in steps and None in found:
            found = steps
    return found


def given_checkpoints(steps: Steps | None) -> dict[str, np.ndarray]:
    """Coordinates of checkpoints that were given: ``{}`` if none were.

    Args:
        steps: one a checkpoint; coordinates by name, ``step`` among them; text such as ``0,100,1000``; or a file: a
            number a line, a table with a column ``step``, or a ``.npy``.

    Raises:
        StoreError: they cannot be read, or are no numbers.
    """
    if steps is None:
        return {}
    if isinstance(steps, str) and re.fullmatch(r"[\d\s.,eE+_]+", steps) and not Path(steps).exists():
        steps = _numbers(steps)
    elif isinstance(steps, str | os.PathLike):
        steps = _of_file(Path(steps).expanduser())
    if not isinstance(steps, Mapping):
        steps = {"step": steps}
    with as_store_errors():
        return {name: _whole(known_array(f"steps[{name!r}]", values, None)) for name, values in steps.items()}


def _whole(values: np.ndarray) -> np.ndarray:
    """Whole numbers as integers."""
    if values.dtype.kind == "f" and values.size and np.all(np.isfinite(values)) and np.all(values == np.rint(values)):
        return values.astype(np.int64)
    return values


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[\s,;]+", text.strip(" \n\t,;")) if part]
    except ValueError as error:
        raise StoreError(
            f"steps: got {text[:80]!r} ({error}), expected numbers such as 0,100,1000, one a line in a file, or a "
            "table with a column step"
        ) from error


def _of_file(path: Path) -> Any:
    """Numbers, or coordinates by name, of a file."""
    if not path.is_file():
        raise StoreError(f"steps: no such file as {path}; {GIVE_STEPS}")
    if path.suffix == ".npy":
        from .files import open_file

        return next(iter(open_file(path).values()))[...]
    if path.suffix in (".parquet", ".npz"):
        table = _columns(path)
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise StoreError(f"steps: {path} is no text, expected a number a line") from error
        first = text.strip().partition("\n")[0]
        if not re.search(r"[A-Za-z_]{2,}", first):
            return _numbers(text.strip().strip("[]"))
        table = _columns(path)
    name = next((name for name in STEP_NAMES if name in table), None)
    if name is None:
        raise StoreError(f"steps: {path} has {', '.join(table) or 'no columns'}; expected a column called step")
    others = {key: values for key, values in table.items() if key != name and values.dtype.kind in "iuf"}
    return {"step": table[name], **others}


def _columns(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        from .files import open_file

        return {name: array[...] for name, array in open_file(path).items()}
    from .tables import whole_table

    frame = whole_table(path)
    return {str(name): frame[name].to_numpy() for name in frame}
