"""The doorbell calls when a socket can be read, once, and for nobody who has gone."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from bouncefiler.doorbell import Doorbell

PATIENCE = 10.0  # how long a test waits for what must come; it is used up only where the code is wrong


@pytest.fixture
def bell() -> Iterator[Doorbell]:
    made = Doorbell()
    yield made
    made.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_it_calls_once_when_there_is_something_to_read(
    bell: Doorbell, ends: tuple[socket.socket, socket.socket]
) -> None:
    calls: SimpleQueue[str] = SimpleQueue()
    here, there = ends
    bell.watch(here.fileno(), lambda: calls.put("once"))
    there.send(b"x")

    assert calls.get(timeout=PATIENCE) == "once"
    settle(bell)
    assert calls.empty()


def test_it_calls_when_the_other_end_has_gone(bell: Doorbell, ends: tuple[socket.socket, socket.socket]) -> None:
    calls: SimpleQueue[str] = SimpleQueue()
    here, there = ends
    bell.watch(here.fileno(), lambda: calls.put("gone"))
    there.close()

    assert calls.get(timeout=PATIENCE) == "gone"


def test_it_does_not_call_for_what_was_forgotten_and_the_same_number_can_be_watched_again(
    bell: Doorbell, ends: tuple[socket.socket, socket.socket]
) -> None:
    calls: SimpleQueue[str] = SimpleQueue()
    here, there = ends
    bell.forget(bell.watch(here.fileno(), lambda: calls.put("old")))
    bell.watch(here.fileno(), lambda: calls.put("new"))
    settle(bell)
    there.send(b"x")

    assert calls.get(timeout=PATIENCE) == "new"
    settle(bell)
    assert calls.empty()


def test_to_forget_a_closed_socket_leaves_the_next_one_with_its_number_alone(bell: Doorbell) -> None:
    calls: SimpleQueue[str] = SimpleQueue()
    (first, _first), (second, other) = socket.socketpair(), socket.socketpair()
    with _first, second, other:
        number = first.detach()
        sight = bell.watch(number, lambda: calls.put("first"))
        settle(bell)
        os.dup2(second.fileno(), number)  # closes the first, and gives its number to the second
        bell.forget(sight)
        bell.watch(number, lambda: calls.put("second"))
        other.send(b"x")

        assert calls.get(timeout=PATIENCE) == "second"
        os.close(number)


def test_a_socket_that_is_closed_already_is_called_for(
    bell: Doorbell, ends: tuple[socket.socket, socket.socket]
) -> None:
    """Whoever owns it finds out."""
    calls: SimpleQueue[str] = SimpleQueue()
    here, _ = ends
    number = here.fileno()
    here.close()
    bell.watch(number, lambda: calls.put("closed"))

    assert calls.get(timeout=PATIENCE) == "closed"


def test_a_hundred_sockets_take_one_thread(bell: Doorbell) -> None:
    before = threading.active_count()
    pairs = [socket.socketpair() for _ in range(100)]
    calls: SimpleQueue[int] = SimpleQueue()
    for number, (here, _) in enumerate(pairs):
        bell.watch(here.fileno(), lambda number=number: calls.put(number))  # type: ignore[misc]
    settle(bell)

    assert threading.active_count() == before + 1
    for _, there in pairs:
        there.send(b"x")
    assert sorted(calls.get(timeout=PATIENCE) for _ in pairs) == list(range(100))
    for pair in pairs:
        for end in pair:
            end.close()


def test_without_a_socket_there_is_no_thread() -> None:
    before = threading.active_count()
    Doorbell().close()

    assert threading.active_count() == before


def settle(bell: Doorbell) -> None:
    """Wait until the doorbell has done what it was told so far."""
    done = threading.Event()
    bell._order(done.set)
    assert done.wait(PATIENCE)


def test_it_can_be_closed_when_its_thread_was_awake_and_has_ended_before_it_is_rung(
    monkeypatch: pytest.MonkeyPatch, ends: tuple[socket.socket, socket.socket]
) -> None:
    """Between the order to end and the ring, the thread may obey and hang up."""
    bell = Doorbell()
    bell.watch(ends[0].fileno(), lambda: None)
    settle(bell)
    thread, orders = bell._thread, bell._orders

    class Awake(SimpleQueue[Callable[[], None]]):
        def put(self, order: Callable[[], None], *_: object) -> None:
            assert thread
            assert bell._bell
            orders.put(order)
            bell._bell.send(b"!")
            thread.join(PATIENCE)

    monkeypatch.setattr(bell, "_orders", Awake())
    bell._orders.get_nowait = orders.get_nowait  # type: ignore[method-assign]
    bell.close()

    assert thread
    assert not thread.is_alive()
