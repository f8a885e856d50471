"""`tsl rechunk`: losses of any layout as whole trajectories, which fits are read from fast."""

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..pace import duration
from . import parsing
from .console import Debug, Json, reporting, write_json
from .fit_options import MissingChunks
from .groups import grouped
from .options import argument, unless_given
from .progress import lines
from .streams import output_console, say
from .workers import Cluster, using_workers

if TYPE_CHECKING:
    from rich.console import Console

#: Dtypes that losses may have on disk.
LossDtype = Literal["float16", "float32", "float64"]
ChunkTokens = Annotated[int | None, unless_given("as many as take 1 MiB", "Tokens in a chunk.", min=1)]
ShardTokens = Annotated[int | None, unless_given("32 MiB", "Tokens in a shard, a multiple of those in a chunk.", min=1)]
LossMemory = Annotated[
    Any,
    typer.Option(
        parser=parsing.memory,
        metavar="SIZE",
        help="Losses in memory at a time, bytes or with a unit, such as 1GiB; at least a shard is.",
    ),
]


@dataclasses.dataclass(frozen=True)
class LossLayout:
    """How losses are cut on disk and on their way there."""

    chunk_tokens: ChunkTokens = None
    shard_tokens: ShardTokens = None
    memory: LossMemory = "256MiB"
    missing_chunks: MissingChunks = "refuse"

    def arguments(self) -> dict[str, Any]:
        """As `tsl_jax.store` takes them."""
        rows = self.chunk_tokens, self.shard_tokens
        return {"rows": rows, "memory": self.memory, "missing_chunks": self.missing_chunks}


@grouped
def rechunk(
    source: Annotated[
        str,
        argument(
            "SOURCE",
            "Loss store of any layout: a directory, a zip file or a URL. What is no loss store yet is for tsl import.",
        ),
    ],
    target: Annotated[str, argument("TARGET", "Where the new loss store goes: a directory or a URL.")],
    dtype: Annotated[LossDtype | None, unless_given("that of the source", "Dtype of the new losses.")] = None,
    *,
    layout: LossLayout,
    cluster: Cluster,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write losses anew in the layout that is read fastest: chunks of whole trajectories, in shards.

    Memory does not grow with the store. Kill it at any moment and run the same command again: it goes on where it was.
    Until it is done TARGET is no loss store.

    Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 130 stopped with Ctrl-C.
    """
    with reporting(as_json, debug):
        from ..store.rechunking import rechunk_or_find

        begun = time.perf_counter()
        how = layout.arguments() | {"dtype": dtype, "progress": lines("rechunk")}
        with using_workers(cluster) as client:
            made, written = rechunk_or_find(source, target, **how, client=client)
        seconds = time.perf_counter() - begun
        console = output_console()
        cut = f"{made.losses.dtype}, chunks of {made.chunk_tokens:,} tokens in shards of {made.shard_tokens:,}"
        say(console, f"{made.num_tokens:,} tokens x {made.num_checkpoints} checkpoints, {cut}, {duration(seconds)}")
        say_where(console, target, written)
        if as_json:
            said = {"source": source, "target": target, "tokens": made.num_tokens, "checkpoints": made.num_checkpoints}
            said |= {"dtype": str(made.losses.dtype), "chunk_tokens": made.chunk_tokens}
            write_json(said | {"shard_tokens": made.shard_tokens, "seconds": seconds, "written": written})


def say_where(console: "Console", out: str, written: bool) -> None:
    """Where the losses are, and whether they were there before."""
    if not written:
        say(console, "Nothing to do: the store holds these losses already, every one of them.")
    say(console, f"Losses: {out}", "green")
