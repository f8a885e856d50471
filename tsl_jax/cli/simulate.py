"""`tsl simulate`: data whose truth is known, to try the other commands on."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import Debug, Json, reporting, write_json
from .fit_options import ScaleName
from .options import argument, switch
from .output_files import check_file
from .progress import lines
from .streams import output_console, say


def simulate(
    system: Annotated[
        Literal["losses", "student"],
        argument(
            None,
            "losses: a loss store of tokens with planted sigmoids; student: the loss curve of a softmax student.",
        ),
    ],
    out: Annotated[str, argument("OUT", "A loss store for losses, a CSV file for student.")],
    tokens: Annotated[int, typer.Option(help="losses: how many tokens, any number.")] = 100_000,
    checkpoints: Annotated[int, typer.Option(help="losses: how many, in geometric spacing.")] = 64,
    scale: Annotated[ScaleName, typer.Option(help="losses: sigmoids in ln(step) or in steps.")] = "log",
    noise: Annotated[
        str, typer.Option(metavar="LOW:HIGH", help="losses: noise as a share of each token's drop, log-uniform.")
    ] = "0.01:0.1",
    missing: Annotated[float, typer.Option(help="losses: share of missing losses, 0 to 1.")] = 0.0,
    temperature: Annotated[float, typer.Option(help="student: of the teacher.")] = 0.01,
    rate: Annotated[float, typer.Option(help="student: learning rate.")] = 10.0,
    optimizer: Annotated[Literal["sgd", "adam"], typer.Option(help="student: which.")] = "sgd",
    steps: Annotated[int, typer.Option(help="Last step, of both.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random numbers, 0 or above.")] = 0,
    overwrite: Annotated[bool, switch("--overwrite", "Replace OUT if it is there; off by default.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write data whose truth is known: losses of any number of tokens, or the training of a softmax student.

    losses: every token has a sigmoid with a learning time, sharpness and drop of its own; `tsl fit` should find them
    (tsl_jax.jobs.planted_tokens gives the truth). student: columns step, loss and lr; `tsl timescale` should find
    the exponent 1/3 at low temperature.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage.
    """
    noise_range = parse_range(noise)
    with reporting(as_json, debug):
        if system == "losses":
            law = {"scale": scale, "noise": noise_range, "missing": missing}
            said = _losses(out, tokens, checkpoints, steps, law, seed, overwrite)
        else:
            said = _student(Path(out), temperature, rate, optimizer, steps, seed, overwrite)
        said = {"out": out, "seed": seed} | said
        say(output_console(), f"Written: {out}, {said['what']}", "green")
        if as_json:
            write_json(said)


def parse_range(text: str) -> tuple[float, float]:
    """``LOW:HIGH`` as two numbers; whether they make sense is seen later."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        hint = "--noise"
        raise typer.BadParameter(f"got {text!r}, expected LOW:HIGH, such as 0.01:0.1", param_hint=hint) from None


def _losses(
    out: str, tokens: int, checkpoints: int, steps: int, law: dict[str, Any], seed: int, overwrite: bool
) -> dict[str, Any]:
    import numpy as np

    from ..jobs import simulate_store
    from ..simulate import PlantedLaw

    step = np.unique(np.round(np.geomspace(1, max(steps, 1), max(checkpoints, 1))))
    store = simulate_store(
        out, step, tokens, PlantedLaw(**law), seed=seed, overwrite=overwrite, progress=lines("simulate")
    )
    what = f"{store.num_tokens:,} tokens x {store.num_checkpoints} checkpoints, step 1 to {step[-1]:.0f}"
    return {"what": what, "tokens": store.num_tokens, "checkpoints": store.num_checkpoints, "law": law}


def _student(
    out: Path, temperature: float, rate: float, optimizer: Any, steps: int, seed: int, overwrite: bool
) -> dict[str, Any]:
    import numpy as np

    from ..simulate import TeacherStudentOptions, teacher_student
    from ..store import StoreError
    from ..store.user_files import write_file

    if out.exists() and not overwrite:
        raise StoreError(f"{out}: something is here already; pass --overwrite to replace it")
    check_file(out, (), "OUT")
    record = np.unique(np.r_[0, np.round(np.geomspace(1, max(steps, 1), 120)).astype(int)])
    runs = teacher_student(
        temperature, rate, record, seed=seed, options=TeacherStudentOptions(optimizer=optimizer, evaluation=4096)
    )
    loss, logit_std = (np.asarray(values)[0, 0] for values in (runs.loss, runs.logit_spread))
    rows = [f"{step},{one:.8g},{rate:.8g}" for step, one in zip(record, loss, strict=True)]
    table = "\n".join(["step,loss,lr", *rows, ""]).encode()
    write_file(out, "the loss curve", lambda file: file.write(table))
    what = f"loss {loss[0]:.3g} to {loss[-1]:.3g} nat in {record[-1]:,} steps, logit spread {logit_std[-1]:.3g}"
    return {"what": what, "temperature": temperature, "steps": int(record[-1]), "loss": float(loss[-1])}
