"""Losses of a tiny random language model of `transformers`, saved under several revisions: equal to a plain loop."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from tsl_jax.cli import app
from tsl_jax.collection import collect_hf
from tsl_jax.collection.hf_losses import TorchEvaluator, _head
from tsl_jax.collection.hf_text import rows_of, steps_of
from tsl_jax.store import ChangedError, StoreError, open_losses

torch = pytest.importorskip("torch", reason="needs PyTorch (the extra hf)")
transformers = pytest.importorskip("transformers", reason="needs transformers (the extra hf)")
tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers (the extra hf)")

WORDS = [f"w{i}" for i in range(300)]
REVISIONS = ("step0", "step100", "step200")
SIZES = {"vocab_size": 304, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 32, "max_position_embeddings": 32}


def tokenizer_of(words, bos=False):
    ids = {word: i for i, word in enumerate([*words, "<s>"])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, "w0"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if bos:
        inner.post_processor = tokenizers.processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 300)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>" if bos else None)


def save(folder, config):
    for seed, revision in enumerate(REVISIONS):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for weight in model.parameters():
            weight.data *= 1 + seed
        model.save_pretrained(folder / revision)
        tokenizer_of(WORDS).save_pretrained(folder / revision)
    return folder


def neox():
    return transformers.GPTNeoXConfig(**SIZES)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("neox"), neox())


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Two text files and their token ids."""
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    ids = {name: rng.integers(0, 300, size) for name, size in (("news", 41), ("code", 18))}
    for name, numbers in ids.items():
        (folder / f"{name}.txt").write_text(" ".join(f"w{i}" for i in numbers))
    return [folder / f"{name}.txt" for name in ids], ids


def plain(folder, ids, context, first=None):
    """A loop over revisions, rows and tokens: every loss from the whole prefix in its row, in float64."""
    columns = []
    for revision in REVISIONS:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder / revision).double().eval()
        losses = []
        for numbers in ids.values():
            wanted = numbers if first is not None else numbers[1:]
            for start in range(0, len(wanted), context):
                row = [first, *numbers[start:]] if first is not None else numbers[start:]
                for at, target in enumerate(wanted[start : start + context]):
                    with torch.no_grad():
                        logits = model(torch.tensor([list(row[: at + 1])])).logits[0, -1]
                    losses.append(float(-torch.log_softmax(logits, -1)[target]))
        columns.append(losses)
    return np.array(columns).T


def test_losses_are_those_of_a_plain_loop(model, texts, tmp_path):
    paths, ids = texts
    reports = []
    store = collect_hf(
        *(str(model), REVISIONS, paths, tmp_path / "losses"),
        context=8,
        batch=3,
        dtype="float32",
        logits=True,
        block_bytes=4 * SIZES["vocab_size"] * 5,  # blocks of five tokens
        progress=reports.append,
    )
    np.testing.assert_allclose(store.read(), plain(model, ids, 8), rtol=1e-4, atol=1e-5)
    tokens = {name: store.read_coordinate(name) for name in store.token_coordinates}
    np.testing.assert_array_equal(tokens["token_id"], np.concatenate([ids["news"][1:], ids["code"][1:]]))
    np.testing.assert_array_equal(tokens["domain"], [0] * 40 + [1] * 17)
    np.testing.assert_array_equal(tokens["position"][:10], [*range(8), 0, 1])
    np.testing.assert_array_equal(tokens["sequence"][[0, 7, 8, 39, 40, 56]], [0, 0, 1, 4, 5, 7])
    assert store.attributes["domains"] == ["news", "code"]
    assert store.axis("step").tolist() == [0, 100, 200]
    assert [report.step for report in reports] == [0, 100, 200]


def test_mean_and_spread_of_the_logits(model, texts, tmp_path):
    paths, ids = texts
    keywords = {"context": 8, "batch": 4, "block_bytes": 1}
    store = collect_hf(str(model), REVISIONS[:2], paths[1], tmp_path / "losses", logits=True, **keywords)
    for column, revision in enumerate(REVISIONS[:2]):
        whole = transformers.AutoModelForCausalLM.from_pretrained(model / revision).double()
        with torch.no_grad():
            parts = [whole(torch.tensor(ids["code"][None, at : min(at + 8, 17)])).logits[0] for at in (0, 8, 16)]
        logits = torch.cat(parts).numpy()
        found = store.checkpoint_coordinates
        np.testing.assert_allclose(found["logit_mean"][column], logits.mean(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["logit_spread"][column], np.sqrt(logits.var(1).mean()), rtol=1e-4)


def test_several_devices_share_the_rows(model, texts, tmp_path):
    paths, _ = texts
    one = collect_hf(str(model), REVISIONS[1:2], paths, tmp_path / "one", context=8, batch=4, dtype="float32")
    keywords = {"context": 8, "batch": 4, "dtype": "float32"}
    three = collect_hf(str(model), REVISIONS[1:2], paths, tmp_path / "three", devices=["cpu"] * 3, **keywords)
    np.testing.assert_allclose(three.read(), one.read(), rtol=1e-5)


def test_a_token_that_begins_texts_begins_every_row(model, texts, tmp_path):
    folder, (paths, ids) = tmp_path / "begins", texts
    shutil.copytree(model, folder)
    for revision in REVISIONS:
        tokenizer_of(WORDS, bos=True).save_pretrained(folder / revision)
    store = collect_hf(str(folder), REVISIONS, paths, tmp_path / "losses", context=8, dtype="float32")
    np.testing.assert_allclose(store.read(), plain(folder, ids, 8, first=300), rtol=1e-4, atol=1e-5)
    assert store.num_tokens == 41 + 18


def test_a_model_that_caps_its_logits_is_taken_whole(texts, tmp_path):
    sizes = SIZES | {"num_key_value_heads": 1, "head_dim": 8, "final_logit_softcapping": 0.5}
    folder, (paths, ids) = save(tmp_path / "gemma", transformers.Gemma2Config(**sizes)), texts
    capped = transformers.AutoModelForCausalLM.from_pretrained(folder / "step200").eval()
    assert _head(capped, np.array([[5, 6, 7]])) is None
    store = collect_hf(str(folder), REVISIONS, paths, tmp_path / "losses", context=8, dtype="float32")
    np.testing.assert_allclose(store.read(), plain(folder, ids, 8), rtol=1e-4, atol=1e-5)


def test_the_head_of_other_models_is_used_in_blocks(model):
    loaded = transformers.AutoModelForCausalLM.from_pretrained(model / "step100").eval()
    assert _head(loaded, np.array([[5, 6, 7]])) is loaded.get_output_embeddings()


def test_a_resumed_run_goes_on_and_another_model_is_refused(model, texts, tmp_path, monkeypatch):
    paths, _ = texts
    real, prepared = TorchEvaluator.prepare, []

    def stop_at_the_third(self, params, tokens):
        prepared.append(params)
        if len(prepared) == 3:
            raise RuntimeError("stopped")
        return real(self, params, tokens)

    monkeypatch.setattr(TorchEvaluator, "prepare", stop_at_the_third)
    with pytest.raises(RuntimeError, match="stopped"):
        collect_hf(str(model), REVISIONS, paths, tmp_path / "losses", context=8)
    with pytest.raises(ChangedError, match=r"identity.context: was 8, now 9"):
        collect_hf(str(model), REVISIONS, paths, tmp_path / "losses", context=9)
    shutil.copytree(model, tmp_path / "copy")
    with pytest.raises(ChangedError, match=r"identity\.model: was "):
        collect_hf(str(tmp_path / "copy"), REVISIONS, paths, tmp_path / "losses", context=8)
    collect_hf(str(model), REVISIONS, paths, tmp_path / "losses", context=8)
    assert len(prepared) == 4
    assert open_losses(tmp_path / "losses").num_checkpoints == 3


def test_the_command(model, texts, tmp_path):
    paths, _ = texts
    words = ["collect", "hf", str(model), "--revisions", ",".join(REVISIONS), "--context", "8"]
    words += [word for path in paths for word in ("--text", str(path))]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "losses"), "--json"])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert [row["step"] for row in said["checkpoints"]] == [0, 100, 200]
    assert said["tokens"] == 57
    assert "step 100: mean loss" in done.stderr
    again = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "losses")])
    assert again.stderr.count("collected before") == 3
    refused = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "other"), "--steps", "3,2,1"])
    assert refused.exit_code == 1
    assert "got step 2 after step 3" in refused.stderr
    for wrong in (["--steps", "a,b"], ["--precision", "float8"]):
        assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "other"), *wrong]).exit_code == 2


def test_tokenizers_that_disagree(model, texts, tmp_path):
    paths, ids = texts
    folder = tmp_path / "changed"
    shutil.copytree(model, folder)
    other = list(WORDS)
    at = int(ids["news"][4])
    other[at], other[299] = other[299], other[at]
    tokenizer_of(other).save_pretrained(folder / "step200")
    words = rf"token {list(ids['news']).index(at)} of news is {at} to revision 'step0' and 299 to 'step200'"
    with pytest.raises(StoreError, match=f"tokenizers disagree: {words}"):
        collect_hf(str(folder), REVISIONS, paths, tmp_path / "losses", context=8)
    assert not (tmp_path / "losses").exists()


def test_one_tokenizer_for_all_revisions(model, texts, tmp_path):
    paths, _ = texts
    folder = tmp_path / "shared"
    shutil.copytree(model, folder)
    for revision in REVISIONS:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.move(folder / revision / name, folder / name)
    first = collect_hf(str(folder), REVISIONS[:1], paths, tmp_path / "losses", context=8)
    expected = collect_hf(str(model), REVISIONS[:1], paths, tmp_path / "expected", context=8)
    np.testing.assert_array_equal(first.read(), expected.read())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"revisions": ["step0", "step300"]}, "no folder 'step300' with a model, expected one of step0, step100"),
        ({"revisions": []}, "revisions: got none"),
        ({"revisions": ["step100", "step0"]}, "got step 0 after step 100"),
        ({"revisions": ["step0"], "steps": [1, 2]}, "got 2, expected one for each of 1 revisions"),
        ({"text": "empty.txt"}, "empty.txt is empty"),
        ({"text": "absent.txt"}, "absent.txt cannot be read"),
        ({"text": ["one.txt"]}, "no token has one before it .one has 1.; expected at least 2"),
        ({"text": []}, "text: got no file"),
        ({"text": ["one.txt", "again/one.txt"]}, "two files are called 'one'"),
        ({"text": "binary.txt"}, "binary.txt is not UTF-8"),
        ({"context": 0}, "context: got 0"),
        ({"context": 64}, "context: got 64, expected at most 32"),
    ],
)
def test_bad_input_is_refused(model, texts, tmp_path, change, words):
    (tmp_path / "again").mkdir()
    for name, content in (("empty", b" \n"), ("one", b"w5"), ("again/one", b"w5"), ("binary", b"\xff\xfe")):
        (tmp_path / f"{name}.txt").write_bytes(content)
    arguments = {"revisions": list(REVISIONS), "text": texts[0], "context": 8} | change
    text = arguments.pop("text")
    names = [text] if isinstance(text, str) else text
    with pytest.raises(StoreError, match=words):
        collect_hf(str(model), arguments.pop("revisions"), [tmp_path / n for n in names], tmp_path / "out", **arguments)


def test_an_unknown_revision_on_the_hub(monkeypatch, texts, tmp_path):
    def absent(name, **keywords):
        raise OSError(f"{keywords['revision']} is not a valid git identifier\nfor {name}")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", absent)
    with pytest.raises(StoreError, match=r"'step9' of someone/model cannot be loaded .*not a valid git identifier"):
        collect_hf("someone/model", ["step9"], texts[0], tmp_path / "losses")


def test_a_tokenizer_that_knows_more_than_the_model(model, texts, tmp_path):
    folder = tmp_path / "small"
    shutil.copytree(model / "step0", folder / "step0")
    transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SIZES | {"vocab_size": 100})).save_pretrained(
        folder / "step0"
    )
    assert json.loads((folder / "step0" / "config.json").read_text())["vocab_size"] == 100
    with pytest.raises(StoreError, match="but the model knows 100; its tokenizer is another"):
        collect_hf(str(folder), ["step0"], texts[0], tmp_path / "losses", context=8)


@pytest.mark.parametrize("first", [None, 3])
def test_rows_predict_every_token_once(first):
    ids = {"a": np.arange(10, 31), "b": np.array([7]), "c": np.arange(50, 54)}
    batches = rows_of(ids, context=5, batch=3, first_id=first)
    assert {name: values.shape for name, values in batches[0].items() if name != "domain"} == dict.fromkeys(
        ("input_id", "token_id", "mask"), (3, 5)
    )
    found = np.concatenate([batch["token_id"][batch["mask"]] for batch in batches])
    expected = [text if first is not None else text[1:] for text in ids.values()]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    for batch in batches:
        inner = batch["mask"][:, 1:]
        np.testing.assert_array_equal(batch["input_id"][:, 1:][inner], batch["token_id"][:, :-1][inner])
        if first is not None:
            assert np.all(batch["input_id"][batch["mask"][:, 0], 0] == first)


@pytest.mark.parametrize("revisions", [["main"], ["step1000", "final"]])
def test_revisions_without_a_step(revisions):
    with pytest.raises(StoreError, match="no step in the name"):
        steps_of(revisions)
    assert steps_of(revisions, list(range(len(revisions)))) == list(range(len(revisions)))
