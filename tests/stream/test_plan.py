"""The plan's arithmetic, for any store and any memory."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsl_jax.store import Layout
from tsl_jax.stream import blocks_of, bytes_per_token, device_rows, plan_layout
from tsl_jax.stream.plan import (
    FEWEST_BLOCKS,
    LEAST_BLOCK_TOKENS,
    MOST_BLOCK_TOKENS,
    MOST_BLOCKS,
    MOST_CHUNK_TOKENS,
    MOST_READS,
    refuse_absurd,
)

jobs = st.fixed_dictionaries(
    {
        "num_tokens": st.integers(0, 10**10),
        "token_bytes": st.integers(1, 10**5),
        "chunk_tokens": st.integers(1, 10**6),
        "shard_tokens": st.none() | st.integers(1, 100),
        "memory": st.integers(1, 2**34),
        "row_multiple": st.sampled_from([1, 3, 2048, 8 * 2**17]),
    }
)


def plan(job):
    shards = job["shard_tokens"] and job["shard_tokens"] * job["chunk_tokens"]
    return plan_layout(**(job | {"shard_tokens": shards})), shards


@given(jobs)
def test_a_block_is_whole_shards_and_a_shard_whole_chunks(job):
    layout, _ = plan(job)
    assert layout.chunk_tokens >= 1
    assert layout.shard_tokens % layout.chunk_tokens == 0
    assert layout.block_tokens % layout.shard_tokens == 0


@given(jobs)
def test_a_block_fits_into_memory(job):
    layout, _ = plan(job)
    assert layout.block_tokens <= max(1, job["memory"] // job["token_bytes"], 1)
    assert layout.block_tokens <= MOST_BLOCK_TOKENS


@given(jobs)
def test_the_cut_of_the_losses_is_kept_where_it_fits(job):
    layout, shards = plan(job)
    room = max(LEAST_BLOCK_TOKENS, -(-job["num_tokens"] // FEWEST_BLOCKS))
    room = max(1, min(room, job["memory"] // job["token_bytes"], MOST_BLOCK_TOKENS))
    chunk = min(room, job["chunk_tokens"])
    assert layout.chunk_tokens % chunk == 0
    assert layout.chunk_tokens <= max(chunk, MOST_CHUNK_TOKENS)
    wider = range(2 * layout.chunk_tokens, min(layout.shard_tokens, MOST_CHUNK_TOKENS) + 1, layout.chunk_tokens)
    assert not any(layout.shard_tokens % wide == 0 for wide in wider)
    if shards and shards <= room:
        assert layout.shard_tokens % shards == 0
        assert layout.shard_tokens <= max(shards, MOST_CHUNK_TOKENS)
        wider = range(layout.shard_tokens + shards, min(layout.block_tokens, MOST_CHUNK_TOKENS) + 1, shards)
        assert not any(layout.block_tokens % wide == 0 for wide in wider)
    else:
        assert layout.shard_tokens == layout.block_tokens


@given(jobs)
def test_blocks_are_balanced(job):
    """All blocks together are longer than the store by less than one unit a block."""
    layout, shards = plan(job)
    unit = shards if shards and layout.shard_tokens % shards == 0 else min(job["chunk_tokens"], layout.chunk_tokens)
    step = math.lcm(unit, job["row_multiple"])
    unit = step if layout.block_tokens % step == 0 else unit
    blocks = -(-job["num_tokens"] // layout.block_tokens)
    assert blocks * layout.block_tokens - job["num_tokens"] < max(1, blocks) * unit + (not blocks)


def test_a_small_store_is_one_block():
    assert plan_layout(150, 600, 16, 32) == Layout(160, 160, 160)
    assert plan_layout(98_304, 2_000, 8_192, 65_536) == Layout(16_384, 16_384, 16_384)
    assert plan_layout(10**9, 1_000, 8_192, 65_536) == Layout(2**18, 2**18, 16 * 65_536)


def test_chunks_of_fits_are_many_of_the_losses_and_no_more_than_a_mebibyte():
    assert plan_layout(10**9, 1_000, 8_192, 2**19) == Layout(2**18, 2**19, 2**20)
    assert plan_layout(10**9, 1_000, 3_000, 300_000) == Layout(150_000, 300_000, 900_000)
    assert plan_layout(10**9, 1_000, 2**19, 2**19) == Layout(2**19, 2**19, 2**20)  # as those of the losses are


@given(st.integers(0, 5000), st.integers(1, 700))
def test_blocks_cover_every_token_once(num_tokens, block_tokens):
    blocks = blocks_of(num_tokens, block_tokens)
    covered = [token for block in blocks for token in range(block.start, block.stop)]
    assert covered == list(range(num_tokens))
    assert [block.index for block in blocks] == list(range(len(blocks)))
    assert all(block.start == block.index * block_tokens for block in blocks)


@given(st.integers(1, 10**6), st.integers(0, 10**7), st.integers(1, 65536))
def test_one_shape_holds_every_block(block, tokens, multiple):
    rows = device_rows(block, tokens, multiple)
    assert rows >= min(block, tokens)
    assert rows % multiple == 0
    assert rows - min(block, max(1, tokens)) < multiple


def test_blocks_of_large_stores_fill_whole_engine_blocks_of_all_devices():
    layout = plan_layout(10**9, 1_000, 8_192, 65_536, row_multiple=4 * 2**17)
    assert layout == Layout(2**18, 2**18, 2**20)
    assert device_rows(layout.block_tokens, 10**9, 4 * 2**17) == layout.block_tokens


def test_memory_is_counted_for_every_copy():
    assert bytes_per_token(100, 2, 50) > 2 * 100 * 2 + 2 * 50


@pytest.mark.parametrize(
    ("tokens", "chunk", "memory", "message"),
    [
        (5 * 10**9, 8_192, 2**20, "8,771,930 blocks, and each chunk of 8,192 tokens would be read 15 times; .* 15 MiB"),
        (10**6, 10**6, 2**20, "read 1,755 times; give at least 1,754 MiB, or rewrite the losses in smaller chunks"),
        (10**9, 16, 2**18, "blocks hold 142 tokens: the job would have 7,042,254 blocks, and each takes its time"),
    ],
)
def test_a_memory_far_too_small_is_refused_with_the_least_that_makes_sense(tokens, chunk, memory, message):
    with pytest.raises(ValueError, match=f"^memory: got {memory:,} bytes, .*{message}"):
        refuse_absurd(tokens, 1_839, chunk, memory)


@given(jobs)
def test_the_least_memory_that_is_named_is_enough(job):
    given = job["num_tokens"], job["token_bytes"], job["chunk_tokens"]
    block = max(1, job["memory"] // job["token_bytes"])
    try:
        refuse_absurd(*given, job["memory"])
    except ValueError as error:
        least = int(re.search(r"at least ([\d,]+) MiB", str(error))[1].replace(",", ""))
        refuse_absurd(*given, least * 2**20)
        assert -(-job["chunk_tokens"] // block) > MOST_READS or job["num_tokens"] > MOST_BLOCKS * block
    else:
        assert -(-job["num_tokens"] // block) <= MOST_BLOCKS
