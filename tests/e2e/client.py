# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Clients for the end-to-end tests, down to single TCP segments.

Nothing here retries: a request that fails must be seen by the test.
"""
import ctypes
import socket
import struct

from harness import SLOW

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
REPAIR_RECV, REPAIR_SEND, REPAIR_OFF_NO_PROBE = 1, 2, -1
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
IPV6_DSTOPTS = 59
CLONE_NEWNET = 0x40000000
TRANSPORTS = ("tcp4", "tcp6", "unix")


def in_netns(name, make):
    """Calls make() in the named network namespace; sockets it makes stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{name}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return make()
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


class Client:
    """One connection to a test server over tcp4, tcp6 or unix."""

    def __init__(self, server, transport, netns=None, seconds=20, before_connect=lambda sock: None):
        self.transport = transport
        family = {"tcp4": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}[transport]
        make = lambda: socket.socket(family, socket.SOCK_STREAM)  # noqa: E731
        self.sock = in_netns(netns, make) if netns else make()
        self.sock.settimeout(seconds * SLOW)
        before_connect(self.sock)
        if transport == "unix":
            self.sock.connect(server.unix)
        else:
            host = {"tcp4": "127.0.0.1", "tcp6": "::1"}[transport]
            self.sock.connect((host, server.ports[transport]))
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def request(self, path="/", method="GET", version="1.1", headers=(), body=b""):
        """Sends a request in one write."""
        head = [f"{method} {path} HTTP/{version}", "Host: test", *headers]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def _fill(self):
        data = self.sock.recv(1 << 20)
        self.buffer += data
        return len(data)

    def read(self, n):
        """Exactly n bytes."""
        while len(self.buffer) < n:
            if not self._fill():
                raise ConnectionError(f"connection ended after {len(self.buffer)} of {n} bytes")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self._fill():
                raise ConnectionError(f"connection ended before {mark!r}: {self.buffer[:200]!r}")
        return self.read(self.buffer.index(mark) + len(mark))

    def read_all(self):
        while self._fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def head(self):
        """(status, headers) of the next response."""
        lines = self.read_until(b"\r\n\r\n").decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    def response(self, method="GET"):
        """(status, body) of the next response."""
        status, headers = self.head()
        if method == "HEAD" or status in (204, 304) or status < 200:
            return status, b""
        if headers.get("transfer-encoding") == "chunked":
            return status, self._chunks()
        if "content-length" in headers:
            return status, self.read(int(headers["content-length"]))
        return status, self.read_all()

    def _chunks(self):
        body = b""
        while True:
            size = int(self.read_until(b"\r\n"), 16)
            data = self.read(size + 2)
            if size == 0:
                return body
            body += data[:-2]

    def get(self, path="/", **options):
        self.request(path, **options)
        return self.response(options.get("method", "GET"))

    def reset(self):
        """Aborts the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send_with_fin(self, data):
        """The data and the FIN leave in one segment."""
        self.sock.send(data, socket.MSG_MORE)
        self.sock.shutdown(socket.SHUT_WR)

    def hide_answers(self):
        """From now on nothing that the server sends arrives: both sides retransmit."""
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
        program = struct.pack("HL", 1, ctypes.addressof(drop_all))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def show_answers(self):
        self.sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def _info(self, offset):
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        return struct.unpack_from("I", info, offset)[0]

    def retransmits(self):
        return self._info(100)

    def segments_out(self):
        return self._info(136)

    def _sequence(self, which):
        tcp = socket.IPPROTO_TCP
        self.sock.setsockopt(tcp, TCP_REPAIR, 1)
        self.sock.setsockopt(tcp, TCP_REPAIR_QUEUE, which)
        number = self.sock.getsockopt(tcp, TCP_QUEUE_SEQ) & 0xffffffff
        self.sock.setsockopt(tcp, TCP_REPAIR, REPAIR_OFF_NO_PROBE)
        return number

    def forge(self, payload, back):
        """Sends payload once more by a raw socket, `back` bytes before the next sequence number."""
        sequence = (self._sequence(REPAIR_SEND) - back) & 0xffffffff
        acknowledged = self._sequence(REPAIR_RECV)
        local, remote = self.sock.getsockname(), self.sock.getpeername()
        header = struct.pack("!HHIIBBHHH", local[1], remote[1], sequence, acknowledged, 5 << 4, 0x18,
                             4096, 0, 0)
        segment = header + payload
        pack = lambda a: socket.inet_pton(self.sock.family, a[0])  # noqa: E731
        pseudo = pack(local) + pack(remote) + struct.pack("!II", len(segment), socket.IPPROTO_TCP)
        checksum = _checksum(pseudo + segment)
        segment = segment[:16] + struct.pack("!H", checksum) + segment[18:]
        with socket.socket(self.sock.family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.sendto(segment, (remote[0], 0))


def _checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def late_third_ack(sock):
    """before_connect: the first data then travels on the third segment of the handshake."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


def with_extension_header(sock):
    """before_connect: every IPv6 packet carries a destination options header."""
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))


def datagram(server, data, seconds=10):
    """Sends a datagram to the server's UDP echo and returns what comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds * SLOW)
        sock.sendto(data, ("127.0.0.1", server.ports["udp"]))
        return sock.recv(65536)


class Database:
    """A listener outside every instance that answers or pushes when told to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10 * SLOW)
        self.port = self.listener.getsockname()[1]
        self.connection = None

    def accept(self):
        self.connection = self.listener.accept()[0]
        self.connection.settimeout(10 * SLOW)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        if self.connection:
            self.connection.close()
