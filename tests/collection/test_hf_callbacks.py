"""Callbacks in a real `Trainer` of a tiny model: losses at every evaluation, and the final loss in the log."""

import copy
import json

import numpy as np
import pytest

from tsl_jax.collection import FinalLossEstimate, LossWriter, RestartWarning
from tsl_jax.collection.validation_batches import dealt, numbered
from tsl_jax.curves import Sigmoid
from tsl_jax.jobs import fit_store
from tsl_jax.store import StoreError, import_losses, open_fits

torch = pytest.importorskip("torch", reason="needs PyTorch (the extra hf)")
transformers = pytest.importorskip("transformers", reason="needs transformers (the extra hf)")
pytest.importorskip("accelerate", reason="needs accelerate (the extra hf)")

from tsl_jax.collection import hf_callbacks  # noqa: E402

torch.set_num_threads(1)
ROWS, POSITIONS, VOCABULARY = 10, 8, 40
IDS = np.random.default_rng(0).integers(0, VOCABULARY, (ROWS, POSITIONS + 1))


def batches():
    """Five batches of two rows; the last row is padded."""
    mask = np.ones((ROWS, POSITIONS), bool)
    mask[-1, 5:] = False
    whole = {"input_id": IDS[:, :-1], "token_id": IDS[:, 1:], "mask": mask}
    return [{name: values[at : at + 2] for name, values in whole.items()} for at in range(0, ROWS, 2)]


class Text(torch.utils.data.Dataset):
    def __init__(self, rows):
        self._rows = rows

    def __len__(self):
        return self._rows

    def __getitem__(self, at):
        row = torch.as_tensor(IDS[at % ROWS])
        return {"input_ids": row, "labels": row}


def trainer(folder, callbacks, **options):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(**sizes, intermediate_size=16, max_position_embeddings=32)
    given = {"max_steps": 12, "per_device_train_batch_size": 4, "eval_strategy": "steps", "eval_steps": 2}
    given |= {"logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    arguments = transformers.TrainingArguments(str(folder), **(given | {"learning_rate": 1e-2} | options))
    model = transformers.AutoModelForCausalLM.from_config(config)
    return transformers.Trainer(*(model, arguments), train_dataset=Text(64), eval_dataset=Text(4), callbacks=callbacks)


SAVED = {"save_strategy": "steps", "save_steps": 4}


class Remember(transformers.TrainerCallback):
    """A plain loop beside the callback: losses in float64 of the whole model."""

    def __init__(self):
        self.losses, self.training = {}, []

    def on_train_begin(self, args, state, control, model=None, **given):
        self.losses.setdefault(state.global_step, self.plain(model))

    def on_evaluate(self, args, state, control, model=None, **given):
        self.training.append(model.training)
        self.losses[state.global_step] = self.plain(model)

    def plain(self, model):
        exact = copy.deepcopy(model).double().eval()
        with torch.no_grad():
            logs = torch.log_softmax(exact(torch.as_tensor(IDS[:, :-1])).logits, -1)
        found = -logs.gather(-1, torch.as_tensor(IDS[:, 1:])[..., None])[..., 0].numpy()
        return np.concatenate([found[:-1].ravel(), found[-1, :5]])


def expected(remember):
    return np.stack([remember.losses[step] for step in sorted(remember.losses)], axis=1)


def test_losses_at_every_evaluation_are_those_of_a_plain_loop_and_fit(tmp_path):
    remember = Remember()
    callback = hf_callbacks.LossCallback(tmp_path / "by_step", batches(), dtype="float32", block_bytes=4 * 40 * 3)
    trainer(tmp_path / "run", [callback, remember], include_num_input_tokens_seen=True).train()
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    assert store.axis("step").tolist() == [0, 2, 4, 6, 8, 10, 12]
    np.testing.assert_allclose(store.read(), expected(remember), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(store.axis("tokens_seen"), 4 * (POSITIONS + 1) * store.axis("step"))
    assert store.num_tokens == ROWS * POSITIONS - 3
    fit_store(tmp_path / "losses.zarr", tmp_path / "fits.zarr", Sigmoid(scale="linear"))
    assert open_fits(tmp_path / "fits.zarr").num_tokens == store.num_tokens


def test_two_processes_share_the_tokens(tmp_path, monkeypatch):
    remember = Remember()
    for rank in range(2):
        monkeypatch.setattr(hf_callbacks, "rank_and_ranks", lambda rank=rank: (rank, 2))
        callback = hf_callbacks.LossCallback(tmp_path / "by_step", batches(), dtype="float32")
        trainer(tmp_path / f"run{rank}", [callback, remember], max_steps=4).train()
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    np.testing.assert_allclose(store.read(), expected(remember), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(store.read_coordinate("token_id")[: 9 * POSITIONS], IDS[:9, 1:].ravel())


def test_a_run_that_goes_on_from_a_checkpoint(tmp_path):
    callback = hf_callbacks.LossCallback(tmp_path / "by_step", batches(), dtype="float32")
    trainer(tmp_path / "run", [callback], max_steps=10, **SAVED).train()
    remember = Remember()
    again = hf_callbacks.LossCallback(tmp_path / "by_step", batches(), dtype="float32")
    with pytest.warns(RestartWarning, match=r"from step 4, before 3 checkpoints .*\(steps 6, 8, 10\)"):
        trainer(tmp_path / "run", [again, remember], max_steps=8, **SAVED).train(str(tmp_path / "run/checkpoint-4"))
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    assert store.axis("step").tolist() == [0, 2, 4, 6, 8]
    np.testing.assert_allclose(store.read()[:, 2:], expected(remember), rtol=1e-4, atol=1e-5)
    with pytest.raises(StoreError, match="holds checkpoints up to step 8"):
        trainer(tmp_path / "run", [again]).train()


class AtOnce:
    """In place of the process that forecasts: an estimate at each question."""

    def __init__(self, last_step, learning_rate, every):
        self.last_step, self.losses, self.scheduled = last_step, {}, learning_rate is not None

    def add(self, step, loss):
        self.losses[step] = loss

    def poll(self):
        step, loss = list(self.losses.items())[-1]
        return FinalLossEstimate(self.last_step, step, loss, loss - 1, loss + 1, self.scheduled)

    def close(self):
        pass


def test_the_final_loss_is_in_the_log_with_its_band(tmp_path, monkeypatch):
    monkeypatch.setattr(hf_callbacks, "FinalLoss", AtOnce)
    callback = hf_callbacks.FinalLossCallback()
    options = {"lr_scheduler_type": "cosine", "warmup_steps": 3, "eval_strategy": "no", **SAVED}
    trainer(tmp_path / "run", [callback], **options).train()
    history = json.loads((tmp_path / "run/checkpoint-12/trainer_state.json").read_text())["log_history"]
    found = [entry for entry in history if "final_loss" in entry]
    assert [entry["step"] for entry in found] == list(range(1, 13))
    for entry in found:
        band = entry["final_loss_low"], entry["final_loss"], entry["final_loss_high"]
        np.testing.assert_allclose(band, entry["loss"] + np.array([-1, 0, 1]), rtol=1e-6)
    assert callback.final is None


def test_the_schedule_is_that_of_the_run(tmp_path, monkeypatch):
    known = []

    class Seen(hf_callbacks.FinalLoss):
        def __init__(self, last_step, learning_rate=None, **options):
            known.append(learning_rate)
            super().__init__(last_step, learning_rate, **options)

    monkeypatch.setattr(hf_callbacks, "FinalLoss", Seen)
    options = {"lr_scheduler_type": "cosine", "warmup_steps": 3, "max_steps": 6, "eval_strategy": "no"}
    run = trainer(tmp_path / "run", [hf_callbacks.FinalLossCallback()], **options)
    run.train()
    logged = [entry["learning_rate"] for entry in run.state.log_history if "learning_rate" in entry]
    np.testing.assert_allclose(known[0], logged)
    assert len(known) == 1
    step = np.arange(6)
    cosine = 0.5 * (1 + np.cos(np.pi * (step - 3) / 3))
    np.testing.assert_allclose(known[0], 1e-2 * np.where(step < 3, step / 3, cosine))


def test_a_schedule_that_training_does_not_follow_is_given_up():
    callback = hf_callbacks.FinalLossCallback()
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), 0.1)
    scheduler = transformers.get_constant_schedule_with_warmup(optimizer, 4)
    state = transformers.TrainerState(global_step=0, max_steps=10)
    callback.on_train_begin(None, state, None, lr_scheduler=scheduler)
    state.global_step = 3
    callback.on_log(None, state, None, {"loss": 3.0, "learning_rate": 0.05})
    state.global_step = 4
    with pytest.warns(UserWarning, match="rate at step 4 is 0.01, the scheduler says 0.075; .* without a schedule"):
        callback.on_log(None, state, None, {"loss": 3.0, "learning_rate": 0.01})
    callback.on_log(None, state, None, {"loss": 3.0, "learning_rate": 0.01})


def test_batches_are_numbered_and_dealt():
    found = numbered(batches())
    assert [batch["sequence"].tolist() for batch in found] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [len(list(dealt(found, rank, 3))) for rank in range(3)] == [2, 2, 2]
    with pytest.raises(StoreError, match=r"token_id of shape \(3,\)"):
        numbered([{"token_id": np.arange(3)}])
    with pytest.raises(StoreError, match="batches: got none"):
        numbered([])


def test_a_batch_without_what_the_model_reads(tmp_path):
    callback = hf_callbacks.LossCallback(tmp_path / "by_step", [{"token_id": IDS}])
    with pytest.raises(StoreError, match="have token_id, sequence, expected input_id too"):
        trainer(tmp_path / "run", [callback]).train()
    callback.writer.close()
    LossWriter(tmp_path / "by_step").close()  # nothing was written
