"""Callbacks in a real `Trainer` of Lightning with a tiny model."""

import numpy as np
import pytest

from tsl_jax.collection import FinalLossEstimate, RestartWarning
from tsl_jax.store import StoreError, import_losses

torch = pytest.importorskip("torch", reason="needs PyTorch (the extra lightning)")
lightning = pytest.importorskip("lightning.pytorch", reason="needs lightning (the extra lightning)")

from tsl_jax.collection import lightning_callbacks  # noqa: E402

torch.set_num_threads(1)
ROWS, POSITIONS, VOCABULARY = 7, 4, 20
IDS = np.random.default_rng(0).integers(0, VOCABULARY, (ROWS, POSITIONS + 1))
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning", "ignore:.*LeafSpec:FutureWarning", "ignore:You're resuming:UserWarning"
)


class Bigrams(lightning.LightningModule):
    """The logits of the next token are a row of a table."""

    def __init__(self, said=("token_loss", "token_id")):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(VOCABULARY, VOCABULARY)
        self._said, self.losses = said, {}

    def token_losses(self, rows):
        logs = torch.log_softmax(self.table(rows[:, :-1]), -1)
        return -logs.gather(-1, rows[:, 1:, None])[..., 0]

    def training_step(self, batch, index):
        return self.token_losses(batch[0]).mean()

    def validation_step(self, batch, index):
        found = {"token_loss": self.token_losses(batch[0]), "token_id": batch[0][:, 1:]}
        self.losses.setdefault(self.global_step, []).append(found["token_loss"].detach().double().numpy())
        return {name: found[name] for name in self._said}

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.05)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1 - update / 40)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def fit(folder, callbacks, model=None, start=None, **options):
    data = torch.utils.data.TensorDataset(torch.as_tensor(IDS))
    loaders = [torch.utils.data.DataLoader(data, batch_size=size) for size in (2, 3)]
    given = {"max_steps": 12, "val_check_interval": 4, "check_val_every_n_epoch": None, "log_every_n_steps": 1}
    given |= {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    given |= {"enable_checkpointing": False, "default_root_dir": folder, "devices": 1}
    trainer = lightning.Trainer(callbacks=callbacks, **(given | options))
    model = model or Bigrams()
    trainer.fit(model, *loaders, ckpt_path=start)
    return trainer, model


def test_losses_at_every_validation(tmp_path):
    callback = lightning_callbacks.LightningLosses(tmp_path / "by_step", dtype="float32")
    _, model = fit(tmp_path, [callback])
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    assert store.axis("step").tolist() == [4, 8, 12]
    expected = np.stack([np.concatenate(model.losses[step]).ravel() for step in (4, 8, 12)], axis=1)
    np.testing.assert_allclose(store.read(), expected, rtol=1e-6)
    np.testing.assert_array_equal(store.read_coordinate("token_id"), IDS[:, 1:].ravel())
    assert callback.writer is None


def test_two_processes_number_sequences_as_their_sampler_does(tmp_path):
    """The interface of a trainer that has two ranks, without the two processes."""

    class Two:
        global_step, world_size, sanity_checking = 4, 2, False

        def __init__(self, rank):
            self.global_rank = rank
            self.val_dataloaders = torch.utils.data.DataLoader(range(ROWS), batch_size=2)

    losses = np.random.default_rng(0).random((ROWS, POSITIONS)).astype("float32")
    for rank in range(2):
        callback = lightning_callbacks.LightningLosses(tmp_path / "by_step", dtype="float32")
        trainer = Two(rank)
        trainer.global_step = 0
        callback.on_train_start(trainer, None)
        trainer.global_step = 4
        callback.on_validation_epoch_start(trainer, None)
        sampler = torch.utils.data.DistributedSampler(range(ROWS), 2, rank, shuffle=False)
        for number, rows in enumerate(np.array_split(list(sampler), 2)):
            said = {"token_loss": torch.as_tensor(losses[rows]), "token_id": torch.as_tensor(IDS[rows, 1:])}
            callback.on_validation_batch_end(trainer, None, said, None, number)
        callback.on_validation_epoch_end(trainer, None)
        callback.on_fit_end(trainer, None)
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    np.testing.assert_array_equal(store.read()[:, 0], losses.ravel())


def test_a_run_that_goes_on_from_a_checkpoint(tmp_path):
    def callback():
        return lightning_callbacks.LightningLosses(tmp_path / "by_step", dtype="float32")

    trainer, _ = fit(tmp_path, [callback()], max_steps=6)
    trainer.save_checkpoint(tmp_path / "six.ckpt")
    fit(tmp_path, [callback()], max_steps=12, start=tmp_path / "six.ckpt")
    with pytest.warns(RestartWarning, match="from step 6, before 2 checkpoints"):
        fit(tmp_path, [callback()], max_steps=8, start=tmp_path / "six.ckpt")
    assert import_losses(tmp_path / "by_step", tmp_path / "losses.zarr").axis("step").tolist() == [4, 8]


def test_an_error_in_the_middle_of_a_validation_writes_nothing(tmp_path):
    class Fails(Bigrams):
        def validation_step(self, batch, index):
            if self.global_step == 8 and index == 1:
                raise RuntimeError("stopped")
            return super().validation_step(batch, index)

    callback = lightning_callbacks.LightningLosses(tmp_path / "by_step")
    with pytest.raises(RuntimeError, match="stopped"):
        fit(tmp_path, [callback], Fails())
    assert callback.writer is None
    assert import_losses(tmp_path / "by_step", tmp_path / "losses.zarr").axis("step").tolist() == [4]


def test_a_module_that_says_no_losses(tmp_path):
    callback = lightning_callbacks.LightningLosses(tmp_path / "by_step")
    with pytest.raises(StoreError, match="validation_step: returned token_id, expected a dict with token_loss"):
        fit(tmp_path, [callback], Bigrams(("token_id",)))


class AtOnce:
    """In place of the process that forecasts: what it was given, and an estimate at each question."""

    def __init__(self, last_step, learning_rate, every):
        self.last_step, self.rates, self.losses, self.closed = last_step, learning_rate, {}, False

    def add(self, step, loss):
        self.losses[step] = loss

    def poll(self):
        step, loss = list(self.losses.items())[-1]
        return FinalLossEstimate(self.last_step, step, loss, loss - 1, loss + 1, True)

    def close(self):
        self.closed = True


class Logged(lightning.Callback):
    def __init__(self):
        self.seen, self.losses = {}, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        if "final_loss" in trainer.callback_metrics:
            self.seen[trainer.global_step] = {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_the_final_loss_is_logged_with_its_band(tmp_path, monkeypatch):
    monkeypatch.setattr(lightning_callbacks, "FinalLoss", AtOnce)
    callback, logged = lightning_callbacks.LightningFinalLoss(), Logged()
    fit(tmp_path, [callback, logged], log_every_n_steps=3, accumulate_grad_batches=2, max_steps=6)
    assert callback.final is None
    assert sorted(logged.seen) == [3, 4, 5, 6]
    means = np.reshape(logged.losses, (2, 6)).mean(1)
    for step, mean in ((3, means[0]), (6, means[1])):
        said = [logged.seen[step][name] for name in ("final_loss_low", "final_loss", "final_loss_high")]
        np.testing.assert_allclose(said, [mean - 1, mean, mean + 1], rtol=1e-5)


def test_the_schedule_of_the_run_is_known(tmp_path, monkeypatch):
    made = []

    def make(*given, **options):
        made.append(AtOnce(*given, **options))
        return made[-1]

    monkeypatch.setattr(lightning_callbacks, "FinalLoss", make)
    fit(tmp_path, [lightning_callbacks.LightningFinalLoss()])
    assert made[0].last_step == 12
    assert made[0].closed
    np.testing.assert_allclose(made[0].rates, 0.05 * (1 - np.arange(12) / 40))
