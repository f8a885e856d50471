"""`tsl import`: losses as users have them, as a loss store."""

import time
from typing import Annotated, Any

from ..pace import duration
from .console import Debug, Json, reporting, write_json
from .groups import grouped
from .options import argument, switch, unless_given
from .progress import lines
from .rechunk import LossDtype, LossLayout, say_where
from .streams import output_console, say, warn
from .workers import Cluster, using_workers

Sources = Annotated[
    list[str],
    argument(
        "SOURCE...",
        "What holds the losses, in nat: arrays (.npy, .npz, .pt, .safetensors, Zarr) of (tokens, checkpoints) or "
        "(sequences, positions, checkpoints); a file or folder a checkpoint, whose name tells the step "
        "(losses-001000.npy, step1000/losses.npy); a folder of them; a table (.parquet, .csv, .tsv) of a row a token "
        "and a column a step, or with columns token, step and loss.",
    ),
]
Out = Annotated[str, argument("OUT", "Where the loss store goes: a directory or a URL.")]
GivenSteps = Annotated[
    str | None,
    unless_given(
        "from names, columns or an array called step",
        "Training steps of the checkpoints: 0,100,1000, or a file: a number a line, .npy, or a table with a column "
        "step, whose other columns (tokens_seen, lr_sum) are kept.",
        "--steps",
    ),
]
GivenTokens = Annotated[
    str | None,
    unless_given(
        "what the source tells",
        "File of what is known of the tokens, a row a token: .csv, .tsv or .parquet with columns such as token_id, "
        "position, sequence, domain; or .npz, .npy.",
        "--tokens",
    ),
]
ArrayName = Annotated[
    str | None,
    unless_given("losses, loss, nll or the only one", "Name of the array or column that holds the losses.", "--array"),
]
Transpose = Annotated[
    bool, switch("--transpose", "Arrays of all checkpoints are (checkpoints, tokens); off by default.")
]


@grouped
def import_losses(
    sources: Sources,
    out: Out,
    steps: GivenSteps = None,
    tokens: GivenTokens = None,
    array: ArrayName = None,
    transpose: Transpose = False,
    dtype: Annotated[
        LossDtype | None,
        unless_given("that of the source; float32 for bfloat16 and text", "Dtype of the losses in the store."),
    ] = None,
    *,
    layout: LossLayout,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write losses of any source into a loss store, which every other command takes.

    Memory does not grow with the losses. Kill it at any moment and run the same command again: it goes on where it was,
    and ends with the same bytes. Until it is done OUT is no loss store. A loss store is for tsl rechunk, which writes
    it in another layout.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..store.importing import import_or_find

        begun = time.perf_counter()
        how = layout.arguments() | {"dtype": dtype, "progress": lines("import")}
        source = sources[0] if len(sources) == 1 else sources
        given: dict[str, Any] = {"given": (steps, tokens, None), "wanted": (array, transpose)}
        with using_workers(cluster) as client:
            made, written, found = import_or_find(source, out, **given, **how, client=client)
        seconds = time.perf_counter() - begun
        console = output_console()
        for note in found.notes:
            warn(f"note: {note}")
        at = made.axis() if "step" in made.axes else []
        told = f", steps {at[0]:,.0f} to {at[-1]:,.0f}" if len(at) > 1 else "".join(f", step {one:,.0f}" for one in at)
        size = f"{made.num_tokens:,} tokens x {made.num_checkpoints} checkpoint{'s' * (made.num_checkpoints != 1)}"
        say(console, f"{size}{told}, {made.losses.dtype}, {duration(seconds)}")
        if made.token_coordinates:
            say(console, f"Known of each token: {', '.join(made.token_coordinates)}")
        say_where(console, out, written)
        if as_json:
            said = {"sources": sources, "out": out, "tokens": made.num_tokens, "checkpoints": made.num_checkpoints}
            said |= {
                "dtype": str(made.losses.dtype),
                "steps": list(at),
                "token_coordinates": list(made.token_coordinates),
            }
            write_json(said | {"notes": list(found.notes), "seconds": seconds, "written": written})
