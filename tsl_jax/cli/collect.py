"""`tsl collect`: loss stores out of models and out of runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import argument, needed, switch, unless_given
from .progress import token_bar
from .streams import output_console, say, stderr_console
from .workers import Cluster, using_workers

if TYPE_CHECKING:
    from ..collection import CheckpointReport

app = typer.Typer(
    name="collect",
    help="Make loss stores: hf measures every token at the checkpoints of a Hugging Face model, frontier takes the "
    "best of many runs at each budget. Losses of a model in JAX are collected in Python, with tsl_jax.collect.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


_Model = Annotated[
    str,
    argument("MODEL", "Name on the Hugging Face Hub, a folder with one folder a revision, or the folder of a Trainer."),
]
_Revisions = Annotated[
    str | None,
    unless_given(
        "all checkpoint-* in MODEL, the folder of a Trainer",
        "Revisions in order of training: step1000,step2000.",
        metavar="A,B,...",
    ),
]
_Tokenizer = Annotated[
    str | None, unless_given("that of the model", "Name or folder of the tokenizer.", metavar="TOKENIZER")
]
_Steps = Annotated[
    str | None, unless_given("the number in its name", "Training step of each revision.", metavar="A,B,...")
]
_Precision = Annotated[str, typer.Option(help="Of weights and products: float32, bfloat16 or float16.")]
_Logits = Annotated[bool, switch("--logits", "Record mean and spread of the logits, too; off by default.")]
_Out = Annotated[str, needed("LOSSES", "Loss store to write.")]


@app.command("hf")
@grouped
def hf(
    model: _Model,
    text: Annotated[list[str], needed("FILE", "Text to measure on; again for more domains.")],
    out: _Out,
    revisions: _Revisions = None,
    steps: _Steps = None,
    tokenizer: _Tokenizer = None,
    context: Annotated[int, typer.Option(min=1, help="Tokens that the model reads at most for one loss.")] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Rows of --context tokens computed at a time.")] = 8,
    precision: _Precision = "float32",
    dtype: Annotated[str, typer.Option(help="Of the losses in the store: float16 or float32.")] = "float16",
    logits: _Logits = False,
    overwrite: Annotated[
        bool, switch("--overwrite", "Delete losses that are there, begin anew; off by default.")
    ] = False,
    *,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure every token's loss at revisions of a causal language model, and write a loss store.

    Each revision is appended on disk when it is done: run the same command again after a stop, and it goes on. All GPUs
    share the rows, or workers the batches. Needs PyTorch and the extra hf.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    if precision not in ("float32", "bfloat16", "float16"):
        message = f"got {precision!r}, expected float32, bfloat16 or float16"
        raise typer.BadParameter(message, param_hint="--precision")
    numbers = None if steps is None else parse_steps(steps)
    reports: list[CheckpointReport] = []
    with reporting(as_json, debug):
        from ..collection import collect_hf

        console = stderr_console()

        def tell(report: "CheckpointReport") -> None:
            reports.append(report)
            say(console, words_of(report))

        names = None if revisions is None else [name.strip() for name in revisions.split(",") if name.strip()]
        with using_workers(cluster) as client, token_bar(console) as advance:
            store = collect_hf(
                *(model, names, text, out),
                steps=numbers,
                tokenizer=tokenizer,
                context=context,
                batch=batch,
                precision=precision,  # pyright: ignore[reportArgumentType]
                dtype=dtype,
                logits=logits,
                overwrite=overwrite,
                progress=tell,
                advance=advance,
                client=client,
            )
        say(
            output_console(),
            f"Written: {out}, {store.num_tokens:,} tokens, {store.num_checkpoints} checkpoints",
            "green",
        )
        if as_json:
            rows = [{name: getattr(report, name) for name in _SAID} for report in reports]
            write_json({"model": model, "tokens": store.num_tokens, "checkpoints": rows, "written": out})


_SAID = ("step", "mean_loss", "seconds", "resumed")


def parse_steps(text: str) -> list[int]:
    """``A,B,...`` as whole numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"got {text!r}, expected whole numbers: 1000,2000", param_hint="--steps") from None


def words_of(report: "CheckpointReport") -> str:
    """One checkpoint in a line."""
    said = f"step {report.step:,g}: mean loss {report.mean_loss:.4f} nat"
    if report.resumed:
        return f"{said}, collected before"
    return f"{said}, {report.tokens:,} tokens in {report.seconds:.1f} s ({report.tokens / report.seconds:,.0f}/s)"


@app.command("frontier")
def frontier(
    runs: Annotated[list[str], argument("RUN...", "Loss stores of the same tokens.")],
    out: _Out,
    axis: Annotated[
        str, typer.Option(help="data_budget (D, tokens trained on) or flops_per_token (M, FLOP per token).")
    ] = "data_budget",
    overwrite: Annotated[bool, switch("--overwrite", "Replace a loss store that is there; off by default.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take the best of many runs at each budget, and write their final losses as one loss store over the budget.

    What a run spent is a number in the attributes of its store, under the name of the axis. The best run of a budget
    has the lowest mean loss at its last checkpoint. Runs of other tokens are refused. Fit the result with tsl fit
    --axis data_budget.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    with reporting(as_json, debug):
        from ..collection import frontier as assemble

        store = assemble(runs, out, axis=axis, overwrite=overwrite)  # pyright: ignore[reportArgumentType]
        columns = store.checkpoint_coordinates
        best = [
            {"run": run, axis: float(columns[axis][at]), "mean_loss": float(columns["mean_loss"][at])}
            for at, run in enumerate(store.attributes["runs"])
        ]
        for row in best:
            say(output_console(), f"{axis} {row[axis]:g}: mean loss {row['mean_loss']:.4f} nat, {row['run']}")
        say(output_console(), f"Written: {out}, the best of {len(runs)} runs at {len(best)} budgets", "green")
        if as_json:
            write_json({"axis": axis, "tokens": store.num_tokens, "runs": len(runs), "best": best, "written": out})
