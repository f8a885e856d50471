"""What README.md and the pages say exists: commands and their options, targets, extras, files, names of the library."""

import ast
import re
import shlex
import tomllib

import pytest
import typer

import tsl_jax
from benchmarks.__main__ import main as benchmarks
from tests.pages import ROOT, pages, usage_error, words
from tsl_jax.cli import app

README = pages()["README"]
#: Options of other programs that pages name.
FOREIGN = {"--nthreads", "--memory-limit", "--constraint", "--scheduler-file", "--array"}


@pytest.fixture(params=pages().values(), ids=lambda page: page.name)
def page(request):
    return request.param


def test_the_readme_is_a_screen_and_a_half_and_the_library_takes_ten_lines():
    assert len(README.text.splitlines()) <= 90
    [(kind, code)] = README.blocks
    assert kind == "python"
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_the_commands_exist_with_these_options(page):
    for line in page.commands("tsl"):
        assert usage_error([word.replace("$SLURM_ARRAY_TASK_ID", "17") for word in line]) is None, shlex.join(line)


def test_commands_are_found():
    named = {line[1] for page in pages().values() for line in page.commands("tsl") if len(line) > 2}
    assert named >= {"info", "validate", "fit", "score", "compare", "spectrum", "positions", "forecast", "simulate"}
    assert [line[:3] for line in pages()["docs/how-to/cluster"].commands("tsl")].count(
        ["tsl", "fit", "losses.zarr"]
    ) >= 5


@pytest.mark.parametrize(
    "line", ["tsl fti a b", "tsl fit a", "tsl fit a b --no-such 1", "tsl fit a b --memory 3XB", "tsl fit --no-such"]
)
def test_a_command_that_does_not_exist_would_be_seen(line):
    assert usage_error(words(line)) is not None


def test_every_option_named_alone_exists(page):
    known, left = FOREIGN | {"--help"}, [typer.main.get_command(app)]
    while left:
        command = left.pop()
        known |= {option for parameter in command.params for option in parameter.opts}
        left += getattr(command, "commands", {}).values()
    named = [line[0] for line in map(words, page.inline) if line and line[0].startswith("--")]
    assert {name for name in named if not name.startswith("--xla")} <= known


def test_the_targets_of_make_exist(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {line[1] for line in page.commands("make")} <= targets


def test_the_readme_names_the_targets_that_one_begins_with():
    assert {line[1] for line in README.commands("make")} == {"demo", "docs", "test"}


def test_the_extras_exist(page):
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = {name for found in re.findall(r"(?:\.|tsl_jax)\[([\w,]+)\]", page.text) for name in found.split(",")}
    assert named <= extras


def test_the_benchmarks_exist_with_these_options(page, capsys):
    for line in page.commands("python"):
        if line[1:3] != ["-m", "benchmarks"]:
            continue
        with pytest.raises(SystemExit) as done:
            benchmarks([line[3] if len(line) > 3 and line[3] != "NAME" else "scaling", "--help"])
        assert done.value.code == 0
        said = capsys.readouterr().out
        for option in (word for word in line[4:] if word.startswith("--")):
            assert re.search(rf"{option}\b", said), shlex.join(line)


def test_the_files_exist(page):
    """Files that the prose sets in code, from the root; links from the page (Sphinx checks those of the site, too)."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.prose) if "://" not in link]
    generated = [link for link in links if "generated/" in link]
    for link in set(links) - set(generated) - {""}:
        assert (page.path.parent / link).exists(), link
    for path in (word for word in page.inline if re.fullmatch(r"(tsl_jax|tests|benchmarks|docs)(/[\w.]+)+", word)):
        assert (ROOT / path).exists(), path
    for path, name in re.findall(r"`((?:tsl_jax)/[\w/]+\.pyi?)`, `(\w+)`", page.text):
        assert re.search(rf"^(def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE), (path, name)


def test_the_names_of_the_library_exist(page):
    """``tsl.fit``, ``tsl.Status(n).cause_and_cure``, ``FitOptions(starts=1)``: every name and argument."""
    for text in page.inline:
        try:
            tree = ast.parse(text, mode="eval")
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tsl":
                assert hasattr(tsl_jax, node.attr), text
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if (
                hasattr(tsl_jax, called) and called != "Sigmoid" and "..." not in text
            ):  # Sigmoid: a choice of two scales
                eval(text, vars(tsl_jax) | {name: getattr(tsl_jax, name) for name in tsl_jax.__all__})


def test_the_table_of_families_is_that_of_the_library():
    text = pages()["docs/concepts/a-tokens-curve"].text
    rows = re.findall(r"^\| `(\w+)\([^|]*\| `[^|]*` *(?:, `[^|]*)?\|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == [family.__name__ for family in tsl_jax.FAMILIES.values()]
    for name, parameters in rows:
        family = getattr(tsl_jax, name)()
        assert tuple(re.findall(r"`(\w+)`", parameters)) == family.names
