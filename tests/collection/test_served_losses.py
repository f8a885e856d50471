"""Answers of vLLM and SGLang, in the shapes that they have, as batches that `LossWriter` takes."""

import collections
import types

import numpy as np
import pytest

from tsl_jax.collection import LossWriter
from tsl_jax.collection.served_losses import losses_of_sglang, losses_of_vllm
from tsl_jax.store import StoreError

Logprob = collections.namedtuple("Logprob", "logprob rank decoded_token")
PROMPTS = ([5, 9, 2, 9], [7, 1], [3])
LOGPROBS = ([-0.5, -2.25, 0.0], [-7.0], [])


class Flat(collections.UserList):
    """A sequence that is no list, whose first entry is empty, as vLLM's flat log-probabilities are."""


def of_vllm(kind):
    outputs = []
    for ids, values in zip(PROMPTS, LOGPROBS, strict=True):
        entries = [None]
        for token, value in zip(ids[1:], values, strict=True):
            if kind == "json":  # what json.loads makes of a server's answer
                entry = {str(token): {"logprob": value, "rank": 3}, "11": {"logprob": -0.1, "rank": 1}}
            else:
                entry = {11: Logprob(-0.1, 1, "a"), token: Logprob(value, 3, "b")}
            entries.append(entry)
        entries = Flat([{}, *entries[1:]]) if kind == "flat" else entries
        fields = {"prompt_token_ids": ids, "prompt_logprobs": entries}
        outputs.append(fields if kind == "json" else types.SimpleNamespace(**fields))
    return outputs


def of_sglang(kind):
    answers = []
    for ids, values in zip(PROMPTS, LOGPROBS, strict=True):
        triples = list(zip([None, *values], ids, [None] * len(ids), strict=True))
        triples = [list(triple) for triple in triples] if kind == "json" else triples
        answers.append({"text": "", "meta_info": {"prompt_tokens": len(ids), "input_token_logprobs": triples}})
    return answers


CASES = [(losses_of_vllm, of_vllm, kind) for kind in ("object", "json", "flat")]
CASES += [(losses_of_sglang, of_sglang, kind) for kind in ("object", "json")]


@pytest.mark.parametrize(("convert", "make", "kind"), CASES)
def test_losses_and_tokens_come_back(convert, make, kind, tmp_path):
    batch, losses = convert(make(kind))
    np.testing.assert_array_equal(batch["token_id"], [[9, 2, 9], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(losses, [[0.5, 2.25, 0], [7, np.nan, np.nan], [np.nan] * 3])
    with LossWriter(tmp_path / "by_step", dtype="float32") as writer:
        writer.write(100, batch, losses)
        store = writer.to_store(tmp_path / "losses.zarr")
    np.testing.assert_array_equal(store.read()[:, 0], [0.5, 2.25, 0, 7])
    np.testing.assert_array_equal(store.read_coordinate("position"), [1, 2, 3, 1])
    np.testing.assert_array_equal(store.read_coordinate("sequence"), [0, 0, 0, 1])


ENTRIES = (None, {9: Logprob(-1.0, 1, "a")})


def vllm(ids=(5, 9), entries=ENTRIES):
    return {"prompt_token_ids": ids, "prompt_logprobs": entries}


def sglang(*triples, **about):
    return {"meta_info": {"input_token_logprobs": list(triples), **about}}


@pytest.mark.parametrize(
    ("convert", "answers", "words"),
    [
        (losses_of_vllm, vllm(), "got one dict, expected a list of answers"),
        (losses_of_vllm, [vllm(entries=None)], r"outputs\[0\]: has no prompt_logprobs; ask .*prompt_logprobs=0"),
        (losses_of_vllm, [vllm(ids=None)], "has no prompt_token_ids"),
        (losses_of_vllm, [vllm(), vllm(ids=(5, 9, 3))], r"outputs\[1\]: has 2 prompt_logprobs and 3 prompt_token_ids"),
        (losses_of_vllm, [vllm(ids=(5, 8))], r"prompt_logprobs\[1\]: has those of 9, expected that of token 8"),
        (losses_of_vllm, [vllm(entries=(None, None))], r"prompt_logprobs\[1\]: has none, expected that of token 9"),
        (losses_of_vllm, [vllm(entries=(None, {9: 0.25}))], "got 0.25, expected a finite log-probability, at most 0"),
        (
            losses_of_vllm,
            [vllm(entries=(None, {9: Logprob(None, 1, "")}))],
            "got None, expected a finite log-probability",
        ),
        (losses_of_vllm, [vllm(ids=(5,), entries=(None,))], "1 prompts of at most one token"),
        (losses_of_vllm, [vllm(entries=(None, {9: -9999.0}))], "got -9999.0, expected a finite log-probability"),
        (losses_of_vllm, [], "0 prompts of at most one token"),
        (losses_of_sglang, [{"text": "a"}], r"answers\[0\]: has no meta_info\['input_token_logprobs'\]; ask"),
        (losses_of_sglang, [sglang()], "return_logprob=True and logprob_start_len=0"),
        (losses_of_sglang, [sglang((-1.0,))], r"\[0\]: got \(-1.0,\), expected \(logprob, token id, text\)"),
        (
            losses_of_sglang,
            [sglang((None, 3, None), (None, 4, None))],
            r"\[1\]: got None, .*the first token alone has none",
        ),
        (losses_of_sglang, [sglang((-1.0, 3, None), prompt_tokens=9)], "of 1 tokens of 9; ask for all"),
    ],
)
def test_bad_answers_are_refused(convert, answers, words):
    with pytest.raises(StoreError, match=words):
        convert(answers)
