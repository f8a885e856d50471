"""Sizes of files and functions, and one name for one thing."""

import ast
import collections
import statistics
from pathlib import Path

import pytest

import tsl_jax

ROOT = Path(tsl_jax.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_CODE, MEDIAN_LINES = 250, 60, 120


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def lines_of(path):
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_too_long(path):
    assert lines_of(path) <= MOST_LINES, f"{name_of(path)}: cut it where its two ideas meet"


def test_half_of_the_files_are_read_in_a_few_minutes():
    assert statistics.median(map(lines_of, MODULES)) <= MEDIAN_LINES


def functions(text):
    """Name, and number of lines of code, of every function in a text: blank lines, comments and docstrings apart."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            counted = set(range(node.lineno, node.end_lineno + 1))
            if ast.get_docstring(node) is not None:
                counted -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
            code = (lines[at - 1].strip() for at in counted)
            yield node.name, sum(bool(line) and not line.startswith("#") for line in code)


def test_no_function_is_too_long():
    found = [
        f"{name_of(path)}: {name}, {length} lines of code"
        for path in MODULES
        for name, length in functions(path.read_text())
        if length > MOST_LINES_OF_CODE
    ]
    assert not found


def test_lines_of_code_are_counted():
    text = 'def f(a,\n      b):\n    """Says\n\n    it."""\n    # why\n\n    c = a\n    return c\n'
    assert list(functions(text)) == [("f", 4)]


def test_a_class_has_a_name_of_its_own():
    found = collections.defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name_of(path))
    shared = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert not shared


def test_a_module_does_not_bear_the_name_of_what_is_in_it():
    """Else ``package.name`` is the module or the function, by what was imported first; commands are called so."""
    found = {
        name_of(path)
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == path.stem
    }
    assert not {name for name in found if not name.startswith("cli/")}
