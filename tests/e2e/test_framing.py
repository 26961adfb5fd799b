# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Requests whose framing is hard to follow: each is counted, wakes, and is not frozen under way."""
from client import Client
from harness import World, wait_for
from test_agent import QUICK, get, quick

CHUNKED = b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def open_world():
    return World(quick())


def stays_thawed(world, name, server):
    """While the server waits at its gate, nothing of it may be frozen for the grace (1 s)."""
    wait_for(lambda: "grace" in (world.instance(name)["hold"] or ""), 5, "held by idle_grace")
    assert not world.subtree.frozen(server.cgroup)


def test_request_after_a_chunked_one_is_counted_and_wakes(world):
    server = world.serve("chunked")
    with Client(server, "tcp4") as client:
        client.send(CHUNKED)
        client.send(b"5\r\nhello\r\n")
        client.send(b"0\r\n\r\n")
        assert client.response()[0] == 200
        assert client.get()[0] == 200
        world.wait_counts("chunked", 2, 0)
        world.wait_tier("chunked", "frozen")
        assert client.get() == (200, b"hello\n")
    world.wait_counts("chunked", 3, 0)
    server.end()


def test_chunked_request_in_one_segment_ends_with_it(world):
    server = world.serve("whole")
    with Client(server, "tcp4") as client:
        client.send(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        assert client.response()[0] == 200
        world.wait_counts("whole", 1, 0)
        world.wait_tier("whole", "frozen")
        assert client.get()[0] == 200
    world.wait_counts("whole", 2, 0)
    server.end()


def test_bytes_behind_an_early_answer_wake(world):
    """The rest of a body that the server no longer waits for is still work to read."""
    server = world.serve("early")
    with Client(server, "tcp4") as client:
        client.send(b"POST /noreply HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd")
        world.wait_counts("early", 1, 0)
    assert get(server)[0] == 200
    world.wait_tier("early", "frozen")
    assert get(server)[0] == 200
    server.end()


def test_answer_with_a_head_too_long_to_parse_keeps_its_grace(world):
    server = world.serve("longhead")
    assert get(server)[0] == 200
    world.wait_tier("longhead", "frozen")
    with Client(server, "tcp4") as client:
        client.request("/gap-long-head")
        server.expect("held")
        stays_thawed(world, "longhead", server)
        server.release()
        assert client.response() == (200, b"hello")
    server.end()


def test_request_pipelined_behind_another_keeps_its_grace(world):
    server = world.serve("behind")
    assert get(server)[0] == 200
    world.wait_tier("behind", "frozen")
    with Client(server, "tcp4") as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /?hold HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response()[0] == 200
        server.expect("held")
        stays_thawed(world, "behind", server)
        server.release()
        assert client.response()[0] == 200
    server.end()


def test_answer_with_trailers_ends_with_the_next_request(world):
    server = world.serve("trailers")
    with Client(server, "tcp4") as client:
        client.request("/trailers")
        client.read_until(b"none\r\n\r\n")
        world.wait_counts("trailers", 1, 1)  # the limit: its end is not seen
        assert client.get()[0] == 200
        world.wait_counts("trailers", 2, 0)
    server.end()


def test_request_pipelined_behind_a_chunked_one_keeps_its_grace(world):
    server = world.serve("behind-chunked")
    assert get(server)[0] == 200
    world.wait_tier("behind-chunked", "frozen")
    with Client(server, "tcp4") as client:
        client.send(CHUNKED + b"5\r\nhello\r\n0\r\n\r\nGET /?hold HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response()[0] == 200
        server.expect("held")
        stays_thawed(world, "behind-chunked", server)
        server.release()
        assert client.response()[0] == 200
    server.end()


def test_forged_segments_neither_count_nor_deafen(world):
    """Any sequence number may come from anybody; what TCP refuses must not matter to the hook."""
    server = world.serve("forged")
    with Client(server, "tcp4") as client:
        assert client.get()[0] == 200
        world.wait_tier("forged", "frozen")
        for quarter in range(1, 4):
            client.forge(b"x" * 10, -(quarter << 30))
        assert client.get() == (200, b"hello\n")
        world.wait_counts("forged", 2, 0)
    server.end()
