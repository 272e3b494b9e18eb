"""Channel: messages and sockets between two processes."""

import socket
from collections.abc import Iterator

import pytest

from service.multiprocess.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = Channel.pair()
    yield one, other
    one.close()
    other.close()


def test_messages_arrive_in_order(ends: tuple[Channel, Channel]) -> None:
    """One read returns several; no message is not the end."""
    one, other = ends
    assert other.receive() == []

    one.send({"number": 1})
    one.send({"text": "two\nlines"})

    assert other.receive() == [({"number": 1}, None), ({"text": "two\nlines"}, None)]
    assert not other.is_closed


def test_a_socket_is_passed_with_its_message(ends: tuple[Channel, Channel]) -> None:
    """Between messages without one; it is the same socket with another descriptor."""
    one, other = ends
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        one.send({"number": 1})
        one.send({"number": 2}, first)
        one.send({"number": 3})
        one.send({"number": 4}, second)
        names = [first.getsockname(), second.getsockname()]
        got = other.receive()

    passed = [received for _, received in got if received]
    assert [message for message, _ in got] == [{"number": number} for number in (1, 2, 3, 4)]
    assert [received is not None for _, received in got] == [False, True, False, True]
    assert [received.getsockname() for received in passed] == names
    for received in passed:
        received.close()


def test_sending_never_blocks_and_the_rest_is_sent_by_flush(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    texts = [str(number) * 100_000 for number in range(10)]

    for text in texts:
        one.send({"text": text})
    held = one.pending_bytes
    got = []
    for _ in range(10_000):
        got += other.receive()
        one.flush()
        if len(got) == len(texts):
            break

    assert held > 0
    assert [message["text"] for message, _ in got] == texts
    assert one.pending_bytes == 0


def test_messages_sent_before_the_end_are_received(ends: tuple[Channel, Channel]) -> None:
    """Also if this end's own messages can no longer be delivered."""
    one, other = ends
    one.send({"reason": "because"})
    one.close()

    other.send({"number": 1})

    assert other.receive() == [({"reason": "because"}, None)]
    assert other.is_closed
    assert other.pending_bytes == 0


def test_a_socket_closed_before_it_is_sent_is_left_out(ends: tuple[Channel, Channel]) -> None:
    """The message arrives."""
    one, other = ends
    listening = socket.create_server(("127.0.0.1", 0))
    listening.close()

    one.send({"number": 1}, listening)

    assert other.receive() == [({"number": 1}, None)]
