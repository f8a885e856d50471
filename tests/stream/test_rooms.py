"""Memory of blocks is used again when nobody looks at it any more, and not before."""

import gc

import jax
import numpy as np
import pytest

from tsl_jax.stream.rooms import ALIGNMENT, Rooms

SHAPE, DTYPE = (1000, 64), np.dtype("float16")


def place(array):
    return array.ctypes.data


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_room_has_its_shape_and_its_place(dtype):
    room = Rooms().room((7, 5), np.dtype(dtype))
    assert (room.shape, room.dtype, place(room) % ALIGNMENT) == ((7, 5), dtype, 0)
    assert room.flags.writeable
    assert room.flags.c_contiguous


def test_memory_goes_to_the_next_room():
    rooms = Rooms()
    first = place(rooms.room(SHAPE, DTYPE))
    gc.collect()
    assert place(rooms.room(SHAPE, DTYPE)) == first


@pytest.mark.parametrize(
    "part",
    [
        lambda room: room,
        lambda room: room[10:20],
        lambda room: room[::2].T[1:],
        lambda room: room.view("int16").reshape(-1)[5:],
        lambda room: np.asarray(memoryview(room))[3:],
        lambda room: jax.device_put(room),
    ],
    ids=["whole", "rows", "turned", "other type", "buffer", "device"],
)
def test_not_while_somebody_has_a_part_of_it(part):
    rooms = Rooms()
    room = rooms.room(SHAPE, DTYPE)
    room[:] = 3
    first, kept = place(room), part(room)
    before = np.array(kept)
    del room
    gc.collect()
    others = [rooms.room(SHAPE, DTYPE) for _ in range(4)]
    for other in others:
        other[:] = 7
    np.testing.assert_array_equal(kept, before)
    if not isinstance(kept, jax.Array):  # that may be a copy
        assert first not in map(place, others)
        del kept
        gc.collect()
        assert place(rooms.room(SHAPE, DTYPE)) == first


def test_rooms_of_another_size_get_other_memory():
    rooms = Rooms()
    rooms.room(SHAPE, DTYPE)
    gc.collect()
    larger = rooms.room((2000, 64), DTYPE)
    larger[:] = 1
    assert larger.shape == (2000, 64)
