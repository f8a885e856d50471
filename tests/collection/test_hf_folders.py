"""`tsl collect hf` of the folder that a Trainer saved its checkpoints in: all of them, and one bar."""

import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from tsl_jax.cli import app
from tsl_jax.collection import collect_hf
from tsl_jax.collection.hf_folders import quiet_transformers, trainer_checkpoints
from tsl_jax.store import StoreError, open_losses

torch = pytest.importorskip("torch", reason="needs PyTorch (the extra hf)")
transformers = pytest.importorskip("transformers", reason="needs transformers (the extra hf)")
tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers (the extra hf)")

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 16, "max_position_embeddings": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three checkpoints, one that was cut, and the tokenizer beside them."""
    folder = tmp_path_factory.mktemp("trainer")
    for step in (500, 1000, 1500):
        torch.manual_seed(step)
        model = transformers.AutoModelForCausalLM.from_config(transformers.GPTNeoXConfig(**SIZES))
        model.save_pretrained(folder / f"checkpoint-{step}")
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(40)}, "w0"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner).save_pretrained(folder)
    (folder / "text.txt").write_text(" ".join(f"w{i}" for i in np.random.default_rng(0).integers(0, 40, 50)))
    return folder


def test_all_checkpoints_by_step_as_if_they_were_named(folder, tmp_path):
    words = ["collect", "hf", str(folder), "--text", str(folder / "text.txt"), "--context", "16"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "losses"), "--json"])
    assert done.exit_code == 0, done.stderr
    assert [row["step"] for row in json.loads(done.stdout)["checkpoints"]] == [500, 1000, 1500]
    named = collect_hf(
        *(str(folder), ["checkpoint-500", "checkpoint-1000", "checkpoint-1500"], folder / "text.txt"),
        tmp_path / "named",
        context=16,
    )
    np.testing.assert_array_equal(open_losses(tmp_path / "losses").read(), named.read())


def test_later_checkpoints_are_appended_and_a_cut_one_left_out(folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("checkpoint-500", "checkpoint-1000", "tokenizer.json", "tokenizer_config.json"):
        (copy / name).symlink_to(folder / name)
    (copy / "checkpoint-1500").mkdir()
    (copy / "checkpoint-1500" / "config.json").write_text("{}")
    with pytest.warns(UserWarning, match="checkpoint-1500 holds no whole model, and is left out"):
        first = collect_hf(str(copy), None, folder / "text.txt", tmp_path / "losses", context=16)
    assert first.axis().tolist() == [500, 1000]
    (copy / "checkpoint-1500" / "config.json").unlink()
    (copy / "checkpoint-1500").rmdir()
    (copy / "checkpoint-1500").symlink_to(folder / "checkpoint-1500")
    done = []
    again = collect_hf(
        *(str(copy), None, folder / "text.txt", tmp_path / "losses"),
        context=16,
        advance=lambda *count: done.append(count),
    )
    assert again.axis().tolist() == [500, 1000, 1500]
    assert done[0] == (49, 147)
    assert done[-1] == (147, 147)


def test_folders_without_checkpoints(folder, tmp_path):
    with pytest.raises(StoreError, match=r"is no folder; expected the revisions"):
        collect_hf("someone/model", None, folder / "text.txt", tmp_path / "losses")
    with pytest.raises(StoreError, match="it holds no model"):
        trainer_checkpoints(str(tmp_path))
    (tmp_path / "step10").mkdir()
    (tmp_path / "step10/config.json").write_text("{}")
    with pytest.raises(StoreError, match="folders with a model are step10: give them as revisions"):
        trainer_checkpoints(str(tmp_path))
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3/adapter_config.json").write_text("{}")
    with pytest.raises(StoreError, match="its checkpoints are adapters: merge"):
        trainer_checkpoints(str(tmp_path))


def test_a_tokenizer_that_lies_elsewhere(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint-500").symlink_to(folder / "checkpoint-500")
    words = ["collect", "hf", str(tmp_path / "run"), "--text", str(folder / "text.txt"), "--context", "16"]
    refused = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "losses")])
    assert refused.exit_code == 1
    assert "--tokenizer" in refused.stderr
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "losses"), "--tokenizer", str(folder)])
    assert done.exit_code == 0, done.stderr


def test_silence_ends_with_the_block():
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    def state():
        return logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.are_progress_bars_disabled()

    before = state()
    with quiet_transformers():
        assert state() == (logging.ERROR, False, True)
    assert state() == before


def test_a_terminal_shows_one_bar(folder, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tsl_jax.cli", "collect", "hf", str(folder), "--context", "16"]
    command += ["--text", str(folder / "text.txt"), "--out", str(tmp_path / "losses")]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "90"}
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        said += part
    assert process.wait() == 0, said.decode()
    text = said.decode()
    assert "147 of 147 losses" in text
    assert "Loading" not in text
    assert "it/s" not in text
