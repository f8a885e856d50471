"""Help: every command, every option, with unit and default."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tsl_jax import __version__
from tsl_jax.cache import instruction_set
from tsl_jax.cli import app, keep_programs

TOP = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def _flat(commands, before=""):
    """Every command by the words that call it; a group stands for those in it."""
    for name, command in commands.items():
        inner = getattr(command, "commands", None)
        yield from _flat(inner, f"{before}{name} ") if inner else [(before + name, command)]


COMMANDS = dict(_flat(TOP))


def test_the_commands_are_these(tsl):
    assert list(TOP) == [
        "demo",
        "import",
        "info",
        "validate",
        "rechunk",
        "fit",
        "compare",
        "spectrum",
        "positions",
        "forecast",
        "timescale",
        "rank",
        "schedule",
        "scaling",
        "score",
        "plot",
        "export",
        "simulate",
        "report",
        "bench",
        "collect",
    ]
    text = tsl("--help").out
    for name in TOP:
        assert re.search(rf"\b{name}\b", text)
    assert tsl("--version").out.strip() == __version__


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_option_with_its_default(tsl, name):
    text = tsl(*name.split(), "--help").out
    assert "Exit codes: 0" in " ".join(text.split())
    for parameter in COMMANDS[name].params:
        if parameter.name == "help":
            continue
        assert parameter.help, parameter.name
        assert parameter.help.split()[0] in text
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in text
            documented = parameter.required or parameter.show_default or "by default" in parameter.help
            assert documented, f"{parameter.opts[0]} does not say its default"


@pytest.mark.parametrize(("name", "extra"), [("report", "report"), ("fit", "dask")])
def test_help_names_the_extra_that_a_command_needs(tsl, name, extra):
    assert f"tsl_jax[{extra}]" in tsl(name, "--help").out


def test_every_command_has_json_and_debug():
    for command in COMMANDS.values():
        assert {"--json", "--debug"} <= {word for parameter in command.params for word in parameter.opts}


HELP = """
import sys
from tsl_jax.cli import main

try:
    main()
except SystemExit as end:
    assert not end.code
slow = {"jax", "numpy", "zarr", "matplotlib", "scipy", "xarray"} & set(sys.modules)
assert not slow, slow
"""


@pytest.mark.parametrize("words", ["--help", "fit --help", "demo --help", "--version"])
def test_help_imports_nothing_slow(words):
    done = subprocess.run([sys.executable, "-c", HELP, *words.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_command_keeps_compiled_programs_where_the_environment_says(monkeypatch, tmp_path):
    name = "JAX_COMPILATION_CACHE_DIR"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(name, "elsewhere")
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    keep_programs()
    assert os.environ[name] == "elsewhere"
    monkeypatch.delenv(name)
    keep_programs()
    folder = Path(os.environ[name])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "tsl_jax"


AGAIN = """
from tsl_jax import cli


def app():
    import jax

    jax.jit(lambda x: x + 1)(1.0)


cli.app = app
cli.main()
"""


def test_a_compiled_program_that_was_cut_is_said_once_and_compiled_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    said, whole = [], None
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
        said.append(done.stderr.replace("\n", " "))
        (program,) = tmp_path.glob("tsl_jax/programs-*/jit*-cache")
        whole = whole or program.read_bytes()
        assert program.read_bytes() == whole
        if len(said) == 1:
            program.write_bytes(whole[:-9])
    assert said[0] == said[2] == ""
    assert re.search(r"warning: the compiled program jit_\S+ in the cache was damaged and is\s+compiled again", said[1])


@pytest.mark.parametrize("place", ["file", "~/.cache"])
def test_without_a_place_for_programs_the_command_still_runs(monkeypatch, tmp_path, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file") if place == "file" else place)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    keep_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_processors_of_unlike_instructions_keep_their_programs_apart(monkeypatch):
    names = []
    for text in ("processor : 0\nflags : sse2 avx2", "processor : 7\nflags : sse2 avx2", "flags : sse2"):
        monkeypatch.setattr(Path, "read_text", lambda _, text=text: text)
        names.append(instruction_set())
    assert names[0] == names[1] != names[2]
