# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The request matrix on AF_UNIX, with its limits."""
import subprocess

import cases
from harness import SLOW, World, rows


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


CLIENT = """
import socket, sys
path, connections, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(connections):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(path)
        for _ in range(requests):
            s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
            assert s.recv(100).startswith(b"HTTP/1.1 200")
"""


# Where tasks are preempted inside tracing programs, the kernel skips them for others.
def test_many_clients_at_once_are_counted_one_by_one(world):
    clients, connections, requests = 8, 25, 4
    with cases.Case(world, "many", "unix") as c:
        argv = ["/usr/bin/python3", "-c", CLIENT, c.server.unix, str(connections), str(requests)]
        crowd = [subprocess.Popen(argv) for _ in range(clients)]
        assert [client.wait(50 * SLOW) for client in crowd] == [0] * clients
        c.done(clients * connections * requests)
