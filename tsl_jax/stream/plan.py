"""How a job is cut into blocks: arithmetic only, no files and no devices."""

import dataclasses
import math

from ..store import Layout

#: Host memory for the blocks in flight, in bytes, unless told otherwise.
DEFAULT_MEMORY = 2**30
#: Blocks beyond this bring a device nothing more.
MOST_BLOCK_TOKENS = 2**20
#: Small jobs are still cut into about this many blocks, so that reading, fitting and writing overlap.
FEWEST_BLOCKS, LEAST_BLOCK_TOKENS = 8, 2**14
#: Tokens in a chunk of the fits, if shards hold as many: 1 MiB of float32. Zarr takes some 0.2 ms of Python for every
#: chunk that it writes, and a token has more than ten arrays: in chunks of the losses' own size that would be a
#: microsecond a token, many times what a GPU takes to fit it.
MOST_CHUNK_TOKENS = 2**18
#: Most times that a chunk is read, and most blocks of a job, before its plan is refused: a block takes a millisecond.
MOST_READS, MOST_BLOCKS = 16, 2**20
#: Copies of a block's losses and results that exist at once: read ahead, being decoded, padded, on the
#: device, written.
_INPUT_COPIES, _RESULT_COPIES = 12, 6


@dataclasses.dataclass(frozen=True)
class Block:
    """Consecutive tokens that are read, fitted and written together.

    Args:
        index: its row in the ledger.
        start: first token.
        stop: one past the last token.
    """

    index: int
    start: int
    stop: int


def bytes_per_token(num_checkpoints: int, itemsize: int, result_bytes: int) -> int:
    """Host memory that a token takes while its block is in flight.

    Args:
        num_checkpoints: losses a token.
        itemsize: bytes a loss.
        result_bytes: bytes of one token's results and coordinates.
    """
    return _INPUT_COPIES * num_checkpoints * itemsize + _RESULT_COPIES * result_bytes


def plan_layout(
    num_tokens: int,
    token_bytes: int,
    chunk_tokens: int,
    shard_tokens: int | None,
    memory: int = DEFAULT_MEMORY,
    row_multiple: int = 1,
) -> Layout:
    """Cut a new fit store into chunks, shards and blocks.

    A block is a whole number of shards: two writers inside one shard lose data, and half a shard is read back
    to be written. Shards are those of the losses where they fit into memory, or as many of them as divide a block and
    hold at most `MOST_CHUNK_TOKENS`; losses without shards get shards of a block, for millions of files are no store.
    Chunks are as many whole chunks of the losses as divide a shard and hold at most `MOST_CHUNK_TOKENS`.

    Args:
        num_tokens: tokens of the losses.
        token_bytes: `bytes_per_token`.
        chunk_tokens: tokens in a chunk of the losses.
        shard_tokens: tokens in a shard of the losses, None without shards.
        memory: host memory for all blocks in flight, in bytes.
        row_multiple: see `device_rows`; blocks are multiples of it where they can be, so that little is
            padded.

    Returns:
        A layout with ``block_tokens`` a multiple of ``shard_tokens``, itself one of ``chunk_tokens``, itself one of
        those of the losses.
    """
    wanted = max(LEAST_BLOCK_TOKENS, -(-num_tokens // FEWEST_BLOCKS))
    wanted = max(1, min(wanted, memory // max(token_bytes, 1), MOST_BLOCK_TOKENS))
    chunk = min(chunk_tokens, wanted)
    whole_shards = shard_tokens is not None and shard_tokens <= wanted
    unit = shard_tokens if shard_tokens is not None and whole_shards else chunk
    step = math.lcm(unit, row_multiple)
    step = step if step <= min(wanted, num_tokens) else unit
    steps = -(-num_tokens // step)
    blocks = max(1, -(-steps // (wanted // step)))
    block = max(1, -(-steps // blocks)) * step  # balanced, so that the last block is not mostly padding
    shard = unit * _greatest_divisor(block // unit, MOST_CHUNK_TOKENS // unit) if whole_shards else block
    return Layout(chunk * _greatest_divisor(shard // chunk, MOST_CHUNK_TOKENS // chunk), shard, block)


def refuse_absurd(num_tokens: int, token_bytes: int, chunk_tokens: int, memory: int) -> None:
    """Refuse a memory with which a job would hardly end: a chunk is read anew for each block that has a part of it.

    Args:
        num_tokens: tokens of the losses.
        token_bytes: `bytes_per_token`.
        chunk_tokens: tokens in a chunk of the losses.
        memory: host memory for all blocks in flight, in bytes.

    Raises:
        ValueError: each chunk would be read more than `MOST_READS` times, or there would be more than `MOST_BLOCKS`
            blocks; the message says the least memory that makes sense.
    """
    block, chunk = max(1, memory // token_bytes), min(chunk_tokens, num_tokens)
    reads, blocks = -(-chunk // block), -(-num_tokens // block)
    if reads <= MOST_READS and blocks <= MOST_BLOCKS:
        return
    least = max(chunk, -(-num_tokens // MOST_BLOCKS)) * token_bytes
    again = f"each chunk of {chunk:,} tokens would be read {reads:,} times" if reads > 1 else "each takes its time"
    smaller = ", or rewrite the losses in smaller chunks (tsl rechunk)" if reads > MOST_READS else ""
    raise ValueError(
        f"memory: got {memory:,} bytes, in which blocks hold {block:,} tokens: the job would have {blocks:,} blocks, "
        f"and {again}; give at least {-(-least // 2**20):,} MiB{smaller}"
    )


def _greatest_divisor(number: int, most: int) -> int:
    """The greatest divisor of a number that is at most ``most``; 1 if that is less."""
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return max([divisor for one in small for divisor in (one, number // one) if divisor <= most], default=1)


def blocks_of(num_tokens: int, block_tokens: int) -> list[Block]:
    """All blocks of a store; the last may be shorter."""
    return [
        Block(index, start, min(start + block_tokens, num_tokens))
        for index, start in enumerate(range(0, num_tokens, block_tokens))
    ]


def device_rows(block_tokens: int, num_tokens: int, row_multiple: int) -> int:
    """Rows of the one array shape that is compiled: every block is padded to it.

    Args:
        block_tokens: tokens in a block.
        num_tokens: tokens of the store.
        row_multiple: devices times the curves that the engine fits together: with such shares a curve's
            result does not depend on how many devices there are.
    """
    return -(-min(block_tokens, max(1, num_tokens)) // row_multiple) * row_multiple
