"""Blocks that are read, and computed, before a stream asks for them: once each, and timed as the others."""

import threading
import time

import numpy as np
import pytest

from tsl_jax.store import InputDigest
from tsl_jax.stream.begun import Begun
from tsl_jax.stream.blocks import stream_blocks
from tsl_jax.stream.plan import blocks_of
from tsl_jax.stream.reading import Input

BLOCKS = blocks_of(50, 10)
NAP = 0.2


class Stages:
    """Reading, computing and writing that note what they are asked for."""

    def __init__(self):
        self.read, self.computed, self.written = [], [], {}

    def reading(self, block):
        self.read.append(block)
        rows = np.arange(block.start, block.stop)
        return Input(block, rows, {}, InputDigest(0, 0), (), {"read": 1.0})

    def computing(self, losses):
        self.computed.append(int(losses[0]))
        return {"twice": 2 * losses}

    def writing(self, block, columns):
        self.written[block.block.start] = columns["twice"].tolist()

    def stream(self, begun=None):
        return stream_blocks(self.reading, self.computing, self.writing, BLOCKS, progress=lambda _: None, begun=begun)


def test_what_was_begun_is_done_once():
    plain, stages = Stages(), Stages()
    plain.stream()
    begun = Begun(stages.reading, BLOCKS[:2])
    begun.compute(stages.computing)
    result = stages.stream(begun)
    begun.end()
    assert sorted(stages.read, key=lambda block: block.index) == BLOCKS
    assert sorted(stages.computed) == sorted(plain.computed) == [0, 10, 20, 30, 40]
    assert stages.written == plain.written
    assert result.stages.read == len(BLOCKS)


def test_a_wait_between_the_two_is_no_fit():
    stages = Stages()
    begun = Begun(stages.reading, BLOCKS[:2])
    begun.compute(stages.computing)
    assert begun.computing(BLOCKS[1]) is None
    time.sleep(2 * NAP)
    assert stages.stream(begun).stages.fit < NAP
    begun.end()


@pytest.mark.parametrize("stage", ["reading", "computing"])
def test_an_error_is_raised_where_the_stream_asks(stage):
    stages = Stages()

    def fail(_):
        raise ZeroDivisionError

    setattr(stages, stage, fail)
    begun = Begun(stages.reading, BLOCKS[:2])
    begun.compute(stages.computing)
    with pytest.raises(ZeroDivisionError):
        stages.stream(begun)
    begun.end()


def test_its_end_waits_for_what_has_begun():
    going, done = threading.Event(), []

    def slow(_):
        going.set()
        time.sleep(NAP)
        done.append(True)

    begun = Begun(slow, BLOCKS[:1])
    going.wait(60)
    begun.end()
    assert done == [True]
