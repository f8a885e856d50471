"""A fitted store with hostile names, another run of it, and the page of both."""

import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.planted_store import planted_columns, planted_losses, write_fit_store
from tsl_jax.cli import app
from tsl_jax.jobs import AnalysisOptions, analyse
from tsl_jax.report import findings, write_report

TOKENS, LENGTH, REPLICATES = 1600, 16, 20
TITLE = "<script>window.hacked = 1</script> \"a 'title' & more"
DOMAINS = [
    "</script><script>window.hacked = 2</script>",
    '<img src=x onerror="window.hacked = 3">',
    "right \u202eto left\u200f $x$ &lt;b&gt;",
    '<b>bold</b> \'quotes" & <a href="https://example.org">',
]


def write_run(folder, seed, *, attributes=None, **coordinates):
    """Planted fits and losses, tokens in sequences of `LENGTH` with a domain each."""
    folder.mkdir()
    columns = planted_columns(TOKENS)
    rng = np.random.default_rng(seed)
    errors = {"learning_time": 0.2 * columns["learning_time"], "sharpness": 0.2 * columns["sharpness"]}
    errors |= {"loss_drop": np.full(TOKENS, 0.2), "final_loss": np.full(TOKENS, 0.2)}
    moved = {"learning_time": columns["learning_time"] * np.exp(rng.normal(0, 0.2, TOKENS))}
    if seed:
        inside = (columns["category"] == 1) & (moved["learning_time"] > 1) & (moved["learning_time"] < 256)
        columns["learning_time"] = np.where(inside, moved["learning_time"], columns["learning_time"]).astype("float32")
    columns["r2"] = rng.uniform(0, 1, TOKENS).astype("float32")
    columns |= {f"{name}_stderr": values.astype("float32") for name, values in errors.items()}
    number = np.arange(TOKENS)
    place = number % LENGTH
    losses = planted_losses(columns) + 12 / (1 + 0.3 * (place + 1))[:, None]
    tokens = {
        "sequence": (number // LENGTH).astype("int32"),
        "position": place.astype("int16"),
        "domain": (number // LENGTH % len(DOMAINS)).astype("int8"),
    }
    attributes = {"title": TITLE, "domains": DOMAINS} if attributes is None else attributes
    write_fit_store(folder, columns, coordinates=tokens | coordinates, losses=losses, attributes=attributes, chunk=200)
    return SimpleNamespace(fits=folder / "fits.zarr", losses=folder / "losses.zarr", columns=columns, title=TITLE)


@contextlib.contextmanager
def few_replicates():
    """Bands of `REPLICATES`, which take a tenth of the time; what else the report asks for stays what it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "analyse", lambda read: analyse(read, AnalysisOptions(replicates=REPLICATES)))
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Two runs, and the report of the first."""
    folder = tmp_path_factory.mktemp("report")
    one, other = (write_run(folder / f"run{seed}", seed) for seed in (0, 1))
    page = folder / "new" / "report.html"
    with few_replicates():
        found = write_report(one.fits, page, losses=one.losses, compare=other.fits)
    return SimpleNamespace(**vars(one), other=other, page=page, found=found, text=page.read_text("utf-8"))


@pytest.fixture(scope="session")
def alone(run, tmp_path_factory):
    """What the command says and writes of the fits without their losses."""
    page = tmp_path_factory.mktemp("alone") / "page.html"
    with few_replicates():
        done = CliRunner().invoke(app, ["report", str(run.fits), "--out", str(page), "--json"])
    assert done.exit_code == 0, done.output
    return SimpleNamespace(said=json.loads(done.stdout), words=done.stderr, page=page, text=page.read_text("utf-8"))
