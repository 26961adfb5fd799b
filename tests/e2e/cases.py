# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The request matrix: what every transport and server must be counted as.

One function per row. Each brings a request to its middle, where the gate of
the server or the client holds it, checks both counters, lets it finish and
checks them again. Case.done() sends one plain request at the end: begins are
counted before its answer arrives, so an extra begin cannot come later.

On AF_UNIX an answer's end cannot be parsed: a request ends at its first byte
(Case.answering); the idle grace covers the rest.
"""
import socket

from client import Client, Database
from harness import PYTHON_SERVER, SERVER, wait_for

RECOUNT_SECONDS = 30
UPLOAD = bytes(5_000_000)
LARGE = 20_000_000


class Case:
    """A server of its own in an instance of its own function, and a client side."""

    def __init__(self, world, name, transport, server="c", netns=None, **options):
        self.world, self.transport, self.netns = world, transport, netns
        self.unix = transport == "unix"
        self.name = f"{name}-{transport}-{server}"
        self.clients = []
        self.server = world.serve(self.name, argv={"c": SERVER, "python": PYTHON_SERVER}[server], **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.sock.close()
        self.server.end()
        self.world.servers.remove(self.server)
        self.world.subtree.remove(f"fn/{self.name}")

    def connect(self, **options):
        client = Client(self.server, self.transport, netns=self.netns, **options)
        self.clients.append(client)
        return client

    def counts(self, begins, inflight, seconds=5.0):
        self.world.wait_counts(self.name, begins, inflight, seconds)

    def answering(self, begins):
        """Counters while the answer is on its way but not complete."""
        self.counts(begins, 0 if self.unix else 1)

    def held(self, label=""):
        self.server.expect(f"held {label}")

    def done(self, begins, seconds=5.0):
        """Nothing in flight after so many begins, and none comes later."""
        self.counts(begins, 0, seconds)
        with self.connect() as client:
            assert client.get() == (200, b"hello\n")
        self.counts(begins + 1, 0, seconds)


def single(c):
    assert c.connect().get() == (200, b"hello\n")
    c.done(1)


def keep_alive(c):
    client = c.connect()
    for n in range(100):
        assert client.get()[0] == 200
    assert n == 99
    c.done(100)


def slow(c):
    client = c.connect()
    client.request("/?hold")
    c.held()
    c.counts(1, 1)
    c.server.release()
    assert client.response() == (200, b"hello\n")
    c.done(1)


def connect_without_data(c):
    client = c.connect()
    c.counts(0, 0)
    client.sock.close()
    c.done(0)


def concurrent(c):
    clients = [c.connect() for _ in range(20)]
    for client in clients:
        client.request("/?hold")
    for _ in clients:
        c.held()
    c.counts(20, 20)
    c.server.release(20)
    for client in clients:
        assert client.response()[0] == 200
    c.done(20)


def upload(c):
    client = c.connect()
    client.request("/upload?hold", method="POST", body=UPLOAD)
    c.held()
    c.counts(1, 1)
    c.server.release()
    assert client.response()[0] == 200
    c.done(1)


def upload_in_pieces(c):
    client = c.connect()
    client.send(b"POST /upload HTTP/1.1\r\nHost: test\r\n")
    c.counts(1, 1)
    client.send(b"Content-Length: 9\r\n\r\n")
    for piece in (b"one", b"two"):
        client.send(piece)
        c.counts(1, 1)
    client.send(b"six")
    assert client.response()[0] == 200
    c.done(1)


def download(c):
    client = c.connect()
    client.request(f"/large?bytes={LARGE}")
    assert client.head()[0] == 200
    assert not any(client.read(LARGE))
    c.done(1)


def download_to_a_stalled_client(c):
    client = c.connect()
    client.request(f"/large?bytes={LARGE}")
    client.sock.recv(1, socket.MSG_PEEK)
    c.answering(1)
    assert client.head()[0] == 200
    assert len(client.read(LARGE)) == LARGE
    c.done(1)


def content_length_with_a_gap(c):
    client = c.connect()
    client.request("/gap-length")
    c.held("gap")
    c.answering(1)
    c.server.release()
    assert client.response() == (200, b"1234567890")
    c.done(1)


def chunked_with_gaps(c):
    client = c.connect()
    client.request("/gap-chunked")
    for _ in range(3):
        c.held("gap")
        c.answering(1)
        c.server.release()
    assert client.response() == (200, b"hello0\r\n\r\n")
    c.done(1)


def until_close(c):
    client = c.connect()
    client.request("/until-close", version="1.0")
    c.held("gap")
    c.answering(1)
    c.server.release()
    assert client.response() == (200, b"firstlast")
    c.done(1)


def continue_100(c):
    client = c.connect()
    client.request("/upload", method="POST", headers=["Expect: 100-continue", "Content-Length: 4"])
    assert client.head()[0] == 100
    c.answering(1)
    client.send(b"body")
    assert client.response() == (200, b"4\n")
    c.done(2 if c.unix else 1)


def closed_without_a_reply(c):
    client = c.connect()
    client.request("/noreply?hold")
    c.held()
    c.counts(1, 1)
    c.server.release()
    assert client.read_all() == b""
    c.done(1, RECOUNT_SECONDS if c.unix else 5)


def _aborted(c, abort):
    client = c.connect()
    client.request("/?hold")
    c.held()
    abort(client)
    c.counts(1, 1)
    c.server.release()
    c.done(1, RECOUNT_SECONDS if c.unix else 5)


def aborted_with_fin(c):
    _aborted(c, lambda client: client.sock.close())


def aborted_with_rst(c):
    _aborted(c, Client.reset)


def pipelined(c):
    client = c.connect()
    client.send(b"GET /?hold HTTP/1.1\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 3)
    c.held()
    c.counts(1, 1)
    c.server.release()
    for _ in range(4):
        assert client.response() == (200, b"hello\n")
    c.counts(1, 0)
    assert c.world.function(c.name)["busy_spans"] == 1
    c.done(1)


def outbound_call(c):
    with Database() as database:
        client = c.connect()
        client.request(f"/outbound?port={database.port}")
        database.accept()
        assert database.connection.recv(6) == b"query\n"
        c.counts(1, 1)
        database.connection.sendall(b"row\n")
        assert client.response() == (200, b"row\n")
    c.done(1)


def killed_in_mid_request(c):
    client = c.connect()
    client.request("/?hold")
    c.held()
    c.counts(1, 1)
    c.server.process.kill()
    c.counts(1, 0, RECOUNT_SECONDS if c.unix else 5)


# rows that the Python server can play too
WITH_PYTHON = (single, keep_alive, slow, connect_without_data, concurrent, upload, download,
               download_to_a_stalled_client, until_close, aborted_with_fin, aborted_with_rst,
               killed_in_mid_request)
ONLY_C = (upload_in_pieces, content_length_with_a_gap, chunked_with_gaps, continue_100,
          closed_without_a_reply, pipelined, outbound_call)


def table(*transports):
    """(row, transport, server) for the runner."""
    return [(f.__name__, t, s) for t in transports for f in WITH_PYTHON + ONLY_C
            for s in (("c", "python") if f in WITH_PYTHON else ("c",))]


def run(world, row, transport, server, **options):
    with Case(world, row, transport, server, **options) as case:
        globals()[row](case)


def registered(world, name):
    """Waits until a server that started before the agent is an instance."""
    wait_for(lambda: world.instance(name), 10, f"{name} registered")
