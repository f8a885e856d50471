"""Benchmarks that start processes of their own call what is there."""

import importlib
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS

ROOT = Path(__file__).parents[2]
CALLS = {
    (path.relative_to(ROOT).as_posix(), *call)
    for path in (ROOT / "benchmarks").rglob("*.py")
    for call in re.findall(r'sys.executable, "-m", "([\w.]+)", "?([\w.-]+)', path.read_text())
}


def test_there_are_such_calls():
    assert len(CALLS) >= 6


@pytest.mark.parametrize(("file", "module", "first"), sorted(CALLS))
def test_what_is_called_is_there(file, module, first):
    if module == "benchmarks":
        assert first in BENCHMARKS
        module = f"benchmarks.{BENCHMARKS[first]}"
        assert callable(importlib.import_module(module).main)
    else:
        source = Path(importlib.import_module(module).__file__ or "")
        assert source.name == "__init__.py" or 'if __name__ == "__main__":' in source.read_text()
        assert source.name != "__init__.py" or (source.parent / "__main__.py").exists()
