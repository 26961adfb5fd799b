# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The request matrix on AF_UNIX, with its limits."""
import cases
from harness import World, rows


def open_world():
    return World({"policy": {"source": "unix"}})


@rows(*cases.table("unix"))
def test_case(world, row, transport, server):
    cases.run(world, row, transport, server)


def test_a_client_outside_and_a_client_inside_count_for_the_server(world):
    with cases.Case(world, "both-sides", "unix") as c:
        assert c.connect().get()[0] == 200
        argv = ["/usr/bin/python3", "-c", f"""
import socket
s = socket.socket(socket.AF_UNIX)
s.connect({c.server.unix!r})
s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
assert s.recv(100).startswith(b"HTTP/1.1 200")
"""]
        inside = world.subtree.spawn("fn/caller-unix/1", argv)
        assert inside.wait(10) == 0
        c.done(2)
        world.wait_counts("caller-unix", 0, 0)
