"""The command `tsl`: one file a sub-command; what takes long to import is imported when it is used."""

import os
from typing import Annotated

import typer

from ..cache import compiled_folder
from . import (
    bench,
    collect,
    compare,
    demo,
    fit,
    forecast,
    info,
    positions,
    rank,
    rechunk,
    score,
    simulate,
    spectrum,
    timescale,
    validate,
)

app = typer.Typer(
    name="tsl",
    help="Laws of language-model training, fitted to every token. Every command takes --json for "
    "machine-readable output on stdout; what people read goes to stderr.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("demo")(demo.demo)
app.command("info")(info.info)
app.command("validate")(validate.validate)
app.command("rechunk")(rechunk.rechunk)
app.command("fit")(fit.fit)
app.command("compare")(compare.compare)
app.command("spectrum")(spectrum.spectrum)
app.command("positions")(positions.positions)
app.command("forecast")(forecast.forecast)
app.command("timescale")(timescale.timescale)
app.command("rank")(rank.rank)
app.command("score")(score.score)
app.command("simulate")(simulate.simulate)
app.command("bench")(bench.bench)
app.add_typer(collect.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _tsl(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    pass


def keep_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder; the environment has the last word.

    `JAX_COMPILATION_CACHE_DIR` names another folder, ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps none.
    """
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = compiled_folder("programs")
    if folder is not None and os.access(folder, os.W_OK):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)


def main() -> None:
    """Run the command `tsl` with the arguments of this process."""
    keep_programs()
    app()


__all__ = ["app", "main"]
