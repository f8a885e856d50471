"""README.md keeps its word: its Python runs, in order, and its commands, options, names and files exist."""

import ast
import re
import shlex
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import tsl_jax
from benchmarks.__main__ import main as benchmarks
from tsl_jax.cli import app
from tsl_jax.data import sample_path
from tsl_jax.store import create_losses, open_fits, open_losses

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

TOKENS = 12 * 256

PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
_WITHOUT_BLOCKS = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
_CODE_LINES = [line.partition(" #")[0].strip() for line in re.findall(r"^    (\S.*)$", _WITHOUT_BLOCKS, re.MULTILINE)]
INLINE = re.findall(r"`([^`\n]+)`", _WITHOUT_BLOCKS)


def commands_of(program):
    """Every command line of a program in the README, as words."""
    lines = [*_CODE_LINES, *INLINE]
    return [words for words in map(_words, lines) if words[:1] == [program]]


def _words(line):
    try:
        return shlex.split(line)
    except ValueError:  # prose with an apostrophe: no command
        return []


def usage_error(words):
    """What is wrong with a command line of `tsl`, or None; nothing is run."""
    root = typer.main.get_command(app)
    if len(words) == 1:
        return None
    command = root.commands.get(words[1])
    if command is None:
        return f"no such command: {words[1]}"
    if len(words) == 2:  # named in prose, without its arguments
        return None
    try:
        command.make_context(words[1], list(words[2:]))
    except Exception as error:  # click's own, which typer keeps in another place from version to version
        if not hasattr(error, "format_message"):
            raise
        return error.format_message()
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader stands: `losses.zarr` and `validation.zarr` are parts of the sample; and two runs."""
    folder = tmp_path_factory.mktemp("readme")
    every, fourth = slice(None), slice(None, None, 4)
    _part_of_the_sample(folder / "losses.zarr", every, every, TOKENS)
    _part_of_the_sample(folder / "validation.zarr", fourth, fourth)
    for name, floor in (("young", 3.0), ("other", 3.1)):
        rows = [f"{step},0.001,{floor + 20 * step**-0.5:.5f}" for step in range(200, 5001, 200)]
        (folder / f"{name}.csv").write_text("\n".join(["step,lr,loss", *rows]) + "\n")
    _write_other_seed(folder)
    return folder


def _write_other_seed(folder):
    """Fits of the same tokens with other noise."""
    losses = open_losses(folder / "losses.zarr")
    noise = np.random.default_rng(0).normal(0, 0.2, losses.losses.shape)
    create_losses(
        folder / "other_losses.zarr",
        (losses.read() + noise).astype("float16"),
        checkpoints=losses.checkpoint_coordinates,
        tokens={name: losses.read_coordinate(name) for name in losses.token_coordinates},
    )
    tsl_jax.fit_store(folder / "other_losses.zarr", folder / "other_seed.zarr", tsl_jax.Sigmoid())


def _falling_events(path):
    """(tokens,) whether a token is LEARNED, its loss falls, and its learning time has an error."""
    fits = open_fits(path).read()
    learned = (fits.category == tsl_jax.Category.LEARNED) & (fits.params["loss_drop"] > 0)
    return learned & np.isfinite(fits.stderr["learning_time"])


def _part_of_the_sample(path, positions, checkpoints, tokens=None):
    """Writes the sample's first tokens, at some positions of every sequence and some checkpoints."""
    sample, first = open_losses(sample_path()), slice(0, tokens)
    kept = np.flatnonzero(np.isin(sample.read_coordinate("position", first), np.arange(256)[positions]))
    create_losses(
        path,
        sample.read(first)[kept, checkpoints],
        checkpoints={name: values[checkpoints] for name, values in sample.checkpoint_coordinates.items()},
        tokens={name: sample.read_coordinate(name, first)[kept] for name in sample.token_coordinates},
        attributes={"domains": sample.attributes["domains"]},
    )


@pytest.fixture(scope="module")
def names(folder):
    """What the README's Python leaves behind; each block is a session that goes on where the last one ended."""
    patch, names = pytest.MonkeyPatch(), {"__name__": "readme"}
    patch.chdir(folder)
    patch.setitem(sys.modules, "readme", type(sys)("readme"))  # where dataclasses look for annotations
    for number, block in enumerate(PYTHON_BLOCKS):
        exec(compile(block, f"README block {number}", "exec"), names)
    yield names
    patch.undo()


def test_the_python_runs_and_gives_what_it_promises(names, folder):
    assert len(PYTHON_BLOCKS) >= 4
    fit, truth, step = names["fit"], names["truth"], names["step"]
    assert fit.status.tolist() == [tsl_jax.Status.CONVERGED] * 2
    np.testing.assert_allclose(fit.params["learning_time"], truth["learning_time"][:, 0], rtol=1e-3)
    np.testing.assert_allclose(fit.predict(step), names["losses"], atol=1e-3)
    assert names["gompertz"].params["centre"].shape == (2,)
    assert np.all(names["gompertz"].r2 > 0.9)
    fits = open_fits(folder / "fits.zarr")
    assert fits.complete
    assert fits.num_tokens == TOKENS
    assert set(names["drawn"]) <= set(fits.read_coordinate("sequence"))
    counted = [_falling_events(folder / name) for name in ("fits.zarr", "other_seed.zarr")]
    assert names["found"].all_pairs.of("learning_time").tokens == np.sum(counted[0] & counted[1])
    assert np.mean(counted[0] & counted[1]) > 0.9 * np.mean(counted[0])  # the same tokens with little more noise
    assert names["between_runs"]["learning_time"].shape == (100,)
    own = open_losses(folder / "my_losses.zarr")
    np.testing.assert_array_equal(own.read(), names["losses"])


def test_the_library_takes_ten_lines():
    lines = [line for line in PYTHON_BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_commands_exist_with_these_options():
    commands = commands_of("tsl")
    assert {words[1] for words in commands if len(words) > 2} >= {"info", "validate", "fit", "score"}
    for words in commands:
        assert usage_error(words) is None, shlex.join(words)


@pytest.mark.parametrize("line", ["tsl fti a b", "tsl fit a", "tsl fit a b --no-such 1", "tsl fit a b --memory 3XB"])
def test_a_command_that_does_not_exist_would_be_seen(line):
    assert usage_error(_words(line)) is not None


def run_commands(folder, monkeypatch, wanted):
    """Runs the README's commands that have arguments and are wanted, in their order; their names.

    Those that need a scheduler are run by tests/test_cluster_page.py, which starts one.
    """
    monkeypatch.chdir(folder)
    ran = set()
    for words in commands_of("tsl"):
        if len(words) > 2 and wanted(words[1]) and "--scheduler" not in words:
            result = CliRunner().invoke(app, words[1:], env={"COLUMNS": "200", "TERM": "dumb"})
            assert result.exit_code == 0, result.stderr
            ran.add(words[1])
    return ran


#: Commands that compute more than they compile.
LONG = {"simulate", "forecast", "timescale", "rank"}


@pytest.mark.usefixtures("names")
def test_the_commands_on_stores_run(folder, monkeypatch):
    """`tsl demo` runs in tests/cli/test_cli_demo.py; `tsl fit` goes on with what the README's Python fitted."""
    ran = run_commands(folder, monkeypatch, lambda name: name not in LONG)
    assert ran >= {"info", "validate", "fit", "compare", "score"}


@pytest.mark.usefixtures("optimised")
def test_the_long_commands_run(folder, monkeypatch):
    assert run_commands(folder, monkeypatch, lambda name: name in LONG) == LONG


def test_every_option_named_alone_exists():
    known = {
        option
        for command in typer.main.get_command(app).commands.values()
        for parameter in command.params
        for option in (*parameter.opts, "--help")
    }
    named = [words[0] for words in map(_words, INLINE) if words and words[0].startswith("--")]
    assert named
    assert set(named) <= known


def test_the_targets_of_make_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = {words[1] for words in commands_of("make")}
    assert wanted >= {"demo", "test"}
    assert wanted <= targets


def test_the_extras_exist():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = set(re.findall(r"(?:\.|tsl_jax)\[(\w+)\]", README))
    assert len(named) >= 3
    assert named <= extras


def test_the_benchmarks_exist_with_these_options(capsys):
    commands = [words for words in commands_of("python") if len(words) > 1]
    assert commands
    for words in commands:
        assert words[1:3] == ["-m", "benchmarks"]
        with pytest.raises(SystemExit) as done:
            benchmarks([words[3], "--help"])
        assert done.value.code == 0
        said = capsys.readouterr().out
        for option in (word for word in words[4:] if word.startswith("--")):
            assert re.search(rf"{option}\b", said), shlex.join(words)


def test_the_files_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    paths = links + [word for word in INLINE if re.fullmatch(r"\w[\w.]*(/[\w.]+)+", word)]
    assert len(paths) >= 4
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_names_of_the_library_exist():
    """``tsl.fit``, ``tsl.Status(n).cause_and_cure``, ``FitOptions(starts=1)``: every name and argument."""
    seen = set()
    for text in INLINE:
        try:
            tree = ast.parse(text, mode="eval")
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tsl":
                seen.add(node.attr)
                assert hasattr(tsl_jax, node.attr), text
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and hasattr(tsl_jax, node.func.id):
                seen.add(node.func.id)
                if node.func.id != "Sigmoid":  # its scales are written as a choice of two
                    eval(text, vars(tsl_jax) | {name: getattr(tsl_jax, name) for name in tsl_jax.__all__})
    assert seen >= {"fit", "curve_counts", "least_squares", "Status", "FitOptions", "Hyperbola"}


def test_the_table_of_families_is_that_of_the_library():
    rows = re.findall(r"^\| `(\w+)\([^|]*\| `[^|]*` *(?:, `[^|]*)?\|(.*)\|$", README, re.MULTILINE)
    assert [name for name, _ in rows] == [family.__name__ for family in tsl_jax.FAMILIES.values()]
    for name, parameters in rows:
        family = getattr(tsl_jax, name)()
        assert tuple(re.findall(r"`(\w+)`", parameters)) == family.names
