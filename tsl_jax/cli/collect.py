"""`tsl collect`: loss stores out of models and out of runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import Debug, Json, reporting, say, stderr_console, write_json

if TYPE_CHECKING:
    from ..collection import CheckpointReport

app = typer.Typer(
    name="collect",
    help="Make loss stores: hf measures every token at the checkpoints of a Hugging Face model, frontier takes the "
    "best of many runs at each budget. Losses of a model in JAX are collected in Python, with tsl_jax.collect.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.command("hf")
def hf(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Name on the Hugging Face Hub, or a folder with one folder a revision.",
            show_default=False,
        ),
    ],
    revisions: Annotated[
        str,
        typer.Option(metavar="A,B,...", help="Revisions in order of training: step1000,step2000.", show_default=False),
    ],
    text: Annotated[
        list[str], typer.Option(metavar="FILE", help="Text to measure on; again for more domains.", show_default=False)
    ],
    out: Annotated[str, typer.Option(metavar="LOSSES", help="Loss store to write.", show_default=False)],
    steps: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Training step of each revision.", show_default="the number in its name"),
    ] = None,
    context: Annotated[int, typer.Option(min=1, help="Tokens that the model reads at most for one loss.")] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Rows of --context tokens computed at a time.")] = 8,
    precision: Annotated[str, typer.Option(help="Of weights and products: float32, bfloat16 or float16.")] = "float32",
    dtype: Annotated[str, typer.Option(help="Of the losses in the store: float16 or float32.")] = "float16",
    logits: Annotated[
        bool, typer.Option("--logits", help="Record mean and spread of the logits, too; off by default.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete losses that are there, begin anew; off by default.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure every token's loss at revisions of a causal language model, and write a loss store.

    Each revision is appended on disk when it is done: run the same command again after a stop, and it goes on. All GPUs
    share the rows. Needs PyTorch and the extra hf.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    if precision not in ("float32", "bfloat16", "float16"):
        message = f"got {precision!r}, expected float32, bfloat16 or float16"
        raise typer.BadParameter(message, param_hint="--precision")
    numbers = None if steps is None else parse_steps(steps)
    reports: list[CheckpointReport] = []
    with reporting(as_json, debug):
        from ..collection import collect_hf

        def tell(report: "CheckpointReport") -> None:
            reports.append(report)
            say(stderr_console(), words_of(report))

        store = collect_hf(
            *(model, [name.strip() for name in revisions.split(",") if name.strip()], text, out),
            steps=numbers,
            context=context,
            batch=batch,
            precision=precision,  # pyright: ignore[reportArgumentType]
            dtype=dtype,
            logits=logits,
            overwrite=overwrite,
            progress=tell,
        )
        say(
            stderr_console(),
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
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Loss stores of the same tokens.", show_default=False)
    ],
    out: Annotated[str, typer.Option(metavar="LOSSES", help="Loss store to write.", show_default=False)],
    axis: Annotated[
        str, typer.Option(help="data_budget (D, tokens trained on) or flops_per_token (M, FLOP per token).")
    ] = "data_budget",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a loss store that is there; off by default.")
    ] = False,
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
            say(stderr_console(), f"{axis} {row[axis]:g}: mean loss {row['mean_loss']:.4f} nat, {row['run']}")
        say(stderr_console(), f"Written: {out}, the best of {len(runs)} runs at {len(best)} budgets", "green")
        if as_json:
            write_json({"axis": axis, "tokens": store.num_tokens, "runs": len(runs), "best": best, "written": out})
