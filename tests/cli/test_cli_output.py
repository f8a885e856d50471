"""Where a command writes: files looked at before the work, and streams whose other end goes away."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.table import Table

from tsl_jax.cli.console import reporting, write_json
from tsl_jax.cli.output_files import OutputFileError, check_file, check_picture
from tsl_jax.cli.streams import OutputError, json_alone, output_console, stderr_console
from tsl_jax.store import BlockState, open_fits


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.pdf", "new/folders/a.svg"])
def test_pictures_may_be_written_there_and_nothing_is_made_yet(tmp_path, name):
    check_picture(tmp_path / name)
    check_picture(None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.xyz", r"--picture: .*a\.xyz has the ending '\.xyz', expected .*\.png or .*name it so"),
        ("a", r"has no ending, expected "),
        ("a.pgf", r"has the ending '\.pgf'"),
        ("folder.png", r"is a folder, expected a file"),
        ("file/a.png", r"file is no folder, so .*a\.png cannot be in it"),
        ("file/below/a.png", r"file is no folder"),
    ],
)
def test_pictures_that_cannot_be_written_are_refused(tmp_path, name, says):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputFileError, match=says):
        check_picture(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputFileError, match="no right to write"):
        check_file(tmp_path / "a", (), "--out")


COMMANDS = {
    "forecast": ("{}/no.csv", "--until", "9", "--picture"),
    "rank": ("{}/no.csv", "{}/no.csv", "--at", "9", "--picture"),
    "timescale": ("{}/no.csv", "--picture"),
    "positions": ("{}/no.zarr", "--picture"),
    "score": ("{}/no.zarr", "--window", "1:2", "--out", "{}/w.npz", "--losses", "{}/no.zarr", "--picture"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_looks_at_its_picture_before_it_reads(tsl, tmp_path, name):
    done = tsl(name, *(word.format(tmp_path) for word in COMMANDS[name]), tmp_path / "a.xyz", "--json")
    assert done.code == 1
    assert "has the ending '.xyz'" in done.json["error"]["message"]


def test_weights_and_simulated_curves_are_looked_at_too(tsl, tmp_path):
    done = tsl("score", tmp_path / "no.zarr", "--window", "1:2", "--out", tmp_path / "w.csv", "--json")
    assert "--out: " in done.json["error"]["message"]
    assert "expected .npz or .parquet" in done.json["error"]["message"]
    (tmp_path / "file").touch()
    done = tsl("simulate", "student", tmp_path / "file" / "a.csv", "--json")
    assert "is no folder" in done.json["error"]["message"]


def command(words, **streams):
    """The command as a process, in the test's environment."""
    return subprocess.Popen([sys.executable, "-m", "tsl_jax.cli", *map(str, words)], text=True, **streams)


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@needs_full
def test_json_to_a_full_device_is_told_in_a_sentence(losses):
    with FULL.open("w") as full:
        process = command(["info", losses, "--json"], stdout=full, stderr=subprocess.PIPE)
    words = process.communicate()[1]
    assert process.returncode == 1
    assert "error: stdout: could not write the JSON object: No space left on device" in words
    assert "Traceback" not in words


@needs_full
def test_the_work_goes_on_where_nobody_can_be_told(losses, tmp_path, quick):
    with FULL.open("w") as full:
        words = ["fit", losses, tmp_path / "fits.zarr", *quick, "--json"]
        process = command(words, stdout=subprocess.PIPE, stderr=full)
    said = json.loads(process.communicate()[0])
    assert process.returncode == 0
    assert said["tokens"] == said["tokens_run"]


def test_the_work_goes_on_where_nobody_reads_on(losses, tmp_path, quick):
    """As under ``2>&1 | head -1``."""
    process = command(["fit", losses, tmp_path / "fits.zarr", *quick], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    assert (open_fits(tmp_path / "fits.zarr").ledger.states == BlockState.FINISHED).all()


def test_who_stops_reading_json_wants_no_more(losses):
    read, write = os.pipe()
    os.close(read)
    process = command(["info", losses, "--json"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    words = process.communicate()[1]
    assert process.returncode == 0
    assert "error" not in words


class Broken:
    """A stream that takes nothing."""

    encoding = "utf-8"

    def __init__(self, error):
        self._error = error

    def write(self, _):
        raise self._error

    flush = isatty = lambda self: False

    def fileno(self):
        raise OSError("no file")


def test_streams_without_a_descriptor(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Broken(OSError(5, "gone")))
    stderr_console().print("not shown")
    monkeypatch.setattr(sys, "stdout", Broken(OSError(28, "full")))
    with pytest.raises(OutputError, match="stdout: could not write the JSON object: full"):
        write_json({})
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
    write_json({})


def test_results_go_to_stdout_progress_and_warnings_to_stderr(tsl, losses, quick, tmp_path):
    fitted = tsl("fit", losses, tmp_path / "fits.zarr", *quick)
    assert "LEARNED" in fitted.out
    assert "An event between the first and the last checkpoint." in fitted.out
    assert "150 of 150 tokens (100%)" in fitted.err
    assert "Left out: checkpoint 0" in fitted.err
    assert "LEARNED" not in fitted.err
    for name in ("info", "validate"):
        shown = tsl(name, losses)
        assert str(losses) in shown.out
        assert shown.err == ""
        beside = tsl(name, losses, "--json")
        assert (beside.json["store"], beside.err) == (str(losses), shown.out)


def test_json_is_alone_only_within_a_command():
    with json_alone(True):
        assert output_console().stderr
        with json_alone(False):
            assert not output_console().stderr
    assert not output_console().stderr


WIDE = ("a name that may be wrapped", "3.14159 to 2.71828", "1234567.890123")


@pytest.mark.parametrize("terminal", [True, False])
def test_tables_are_never_cut(monkeypatch, terminal):
    """Not on a terminal of 20 characters, and in a pipe each row is one line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    for name, value in (("COLUMNS", "20"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    table = Table(box=None, pad_edge=False, show_header=False)
    for number, _ in enumerate(WIDE):
        table.add_column(no_wrap=number > 0)
    table.add_row(*WIDE)
    console = output_console()
    console.print(table)
    said = stream.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert " ".join(WIDE[1:]) in " ".join(said.split("\n")[0].split())
    assert set(" ".join(WIDE).split()) <= set(said.split())
    assert terminal or len(said.splitlines()) == 1
    assert console.width == 20


@needs_full
def test_results_to_a_full_device_are_an_error_that_says_what_is_kept(losses):
    with FULL.open("w") as full:
        process = command(["info", losses], stdout=full, stderr=subprocess.PIPE)
    words = process.communicate()[1]
    assert process.returncode == 1
    assert "error: stdout: could not write the result: No space left on device" in words
    assert "Traceback" not in words


def test_the_package_is_the_command(losses):
    done = subprocess.run([sys.executable, "-m", "tsl_jax", "info", losses], capture_output=True, text=True)
    assert (done.returncode, str(losses) in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EACCES, "Get the right to read and write there and"),
        (errno.ENOSPC, "Free some space"),
        (errno.ENOENT, "Check the path"),
    ],
)
def test_what_the_system_says_comes_with_a_way_out(number, cure, capsys):
    with pytest.raises(typer.Exit) as ended, reporting(as_json=False, debug=False):
        raise OSError(number, os.strerror(number), "a/b")
    assert ended.value.exit_code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"Error: {os.strerror(number)}: 'a/b'. {cure}" in said
    assert said.endswith("and run the same command again.")
    assert "Errno" not in said
