"""A model whose weights lie in parts in two processes (FSDP2 over gloo): the losses are those of the whole model."""

import numpy as np
import pytest

STEPS, SEQUENCES, LENGTH = (10, 20), 7, 9


def model_and_text():
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    layers = {"body": torch.nn.Embedding(50, 32), "head": torch.nn.Linear(32, 50, bias=False)}
    return torch.nn.ModuleDict(layers), torch.randint(0, 50, (SEQUENCES, LENGTH))


def write_losses(rank, ranks, folder):
    """What each process does: its share of the sequences, at two checkpoints."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch.distributed.fsdp import fully_shard  # pyright: ignore[reportMissingImports]

    from tsl_jax.collection import LossWriter, token_nll

    meet = f"file://{folder}/meet"
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=ranks)
    model, text = model_and_text()
    mesh = torch.distributed.init_device_mesh("cpu", (ranks,))
    for layer in model.values():
        fully_shard(layer, mesh=mesh)
    sequence = torch.arange(rank, SEQUENCES, ranks)
    mine = text[sequence]
    weight = model["head"].weight
    assert weight.to_local().shape[0] < weight.shape[0]
    with LossWriter(f"{folder}/by_rank.zarr", dtype="float32") as writer:
        assert (writer.rank, writer.ranks) == (rank, ranks)
        for step in STEPS:
            losses = token_nll(model["body"](mine[:, :-1]) * step, weight, mine[:, 1:])
            writer.write(step, {"token_id": mine[:, 1:], "sequence": sequence}, losses)
    torch.distributed.destroy_process_group()


def test_losses_of_a_model_in_parts(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="needs PyTorch (the extra hf)")
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this PyTorch was built without gloo")
    from tsl_jax import import_losses

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.multiprocessing.spawn(write_losses, (2, str(tmp_path)), nprocs=2)
    store = import_losses(tmp_path / "by_rank.zarr", tmp_path / "losses.zarr")
    model, text = model_and_text()
    with torch.no_grad():
        hidden = model["body"](text[:, :-1]).double()
        logits = [hidden * step @ model["head"].weight.double().T for step in STEPS]
        logs = [torch.log_softmax(values, -1).gather(-1, text[:, 1:, None])[..., 0] for values in logits]
    expected = -torch.stack(logs, -1).reshape(-1, len(STEPS)).numpy()
    np.testing.assert_allclose(store.read(), expected, rtol=1e-5, atol=1e-5)
    assert store.read_coordinate("token_id").tolist() == text[:, 1:].flatten().tolist()
