"""Places of a store that is far away are asked at once, those of a near one in turn."""

import threading

import pytest
from zarr.storage import MemoryStore, ObjectStore, WrapperStore

from tsl_jax.store import far_requests, locate
from tsl_jax.store.far_requests import at_once

obstore = pytest.importorskip("obstore")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_far_store_is_asked_at_once_and_answers_in_order(wrapped):
    store = ObjectStore(obstore.store.MemoryStore())
    together = threading.Barrier(4)

    def ask(place):
        together.wait(60)  # for the three others
        return place * 10

    assert at_once(locate(WrapperStore(store) if wrapped else store), ask, range(8)) == list(range(0, 80, 10))


def test_a_near_store_is_asked_in_turn():
    asked = []
    at_once(locate(MemoryStore()), lambda place: asked.append((place, threading.current_thread())), range(3))
    assert asked == [(place, threading.main_thread()) for place in range(3)]


@pytest.mark.parametrize("store", [MemoryStore(), ObjectStore(obstore.store.MemoryStore())])
def test_an_error_is_raised(store):
    with pytest.raises(ZeroDivisionError):
        at_once(locate(store), lambda place: 1 // place, [2, 0, 1])


def test_calls_inside_of_calls_share_one_bound(monkeypatch):
    """With threads for 4, and the one that waits: however many places each place asks, all of them are answered."""
    monkeypatch.setattr(far_requests, "_AT_ONCE", 4)
    location, lock, under_way, most = locate(ObjectStore(obstore.store.MemoryStore())), threading.Lock(), [0], [0]

    def leaf(place):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        threading.Event().wait(0.001)
        with lock:
            under_way[0] -= 1
        return place

    def ask(place):
        return sum(at_once(location, leaf, range(place)))

    assert at_once(location, ask, range(20)) == [sum(range(place)) for place in range(20)]
    assert 1 < most[0] <= 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tsl-ask")]
