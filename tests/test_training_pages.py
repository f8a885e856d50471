"""docs/how-to/while-training.md and hugging-face.md keep their word: every block runs, in order, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.needed import missing
from tsl_jax.cli import app
from tsl_jax.collection import RestartWarning
from tsl_jax.store import open_fits, open_losses

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "how-to"


def blocks_of(name):
    return re.findall(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```", (PAGES / name).read_text(), re.MULTILINE | re.DOTALL)


def run_python(text):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning|torch")
        warnings.filterwarnings("ignore", category=RestartWarning)
        exec(compile(text, "page", "exec"), {"__name__": "__main__"})


def run_command(line):
    words = shlex.split(line)
    if words[0] == "torchrun":
        command = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        return
    assert words[0] == "tsl"
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.stderr


def run_page(name):
    for kind, title, text in blocks_of(name):
        if title:
            Path(title).write_text(text)
        elif kind == "python":
            run_python(text)
        elif kind == "sh":
            for line in text.splitlines():
                run_command(line)


def need(*modules):
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            missing(f"the page needs {module}")
    import torch

    torch.set_num_threads(1)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore::UserWarning:lightning")
def test_while_training(tmp_path, monkeypatch, capfd):
    need("torch", "lightning")
    monkeypatch.chdir(tmp_path)
    run_page("while-training.md")
    assert "[100.0, 200.0]" in capfd.readouterr().out
    store = open_losses("losses.zarr")
    assert (store.num_tokens, store.num_checkpoints) == (64 * 16, 13)
    assert store.axes == ("step", "tokens_seen")
    assert open_fits("fits.zarr").num_tokens == 64 * 16
    ranks = open_losses("losses_of_ranks.zarr")
    assert (ranks.num_tokens, ranks.num_checkpoints) == (63 * 16, 11)
    assert ranks.read()[:, -1].mean() < ranks.read()[:, 0].mean()
    for name in ("restarted", "lightning", "served"):
        assert (tmp_path / f"{name}.zarr").is_dir()


def test_hugging_face(tmp_path, monkeypatch):
    need("torch", "transformers", "tokenizers", "accelerate")
    monkeypatch.chdir(tmp_path)
    run_page("hugging-face.md")
    store = open_losses("losses.zarr")
    assert (store.num_tokens, store.num_checkpoints) == (599, 11)
    assert open_fits("fits.zarr").complete
    collected = open_losses("collected.zarr")
    assert collected.axis("step").tolist() == [10, 20, 30, 40]
    at = store.axis("step").tolist().index(40)
    assert abs(store.read()[:, at] - collected.read()[:, -1]).max() < 5e-3
