# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The test server again, on Python's http.server: other segments for the same answers.

Same lines on stdin and stdout as the C server, and the paths that a plain
framework can serve: /, /204, /upload, /large?bytes=N, /until-close, each with ?hold.
"""
import argparse
import http.server
import os
import socket
import socketserver
import sys
import threading
import urllib.parse

permits = threading.Semaphore(0)
say_lock = threading.Lock()


def say(line):
    with say_lock:
        print(line, flush=True)


def gate(label):
    say(f"held {label}")
    permits.acquire()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        length = int(self.headers.get("Content-Length", 0))
        while length > 0:
            length -= len(self.rfile.read(min(length, 65536)))
        if "hold" in self.query:
            gate(url.path)
        self.routes[url.path](self)

    do_GET = do_POST = do_HEAD = answer

    def whole(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def plain(self):
        self.whole(b"hello\n")

    def no_content(self):
        self.send_response(204)
        self.end_headers()

    def large(self):
        self.whole(bytes(int(self.query["bytes"])))

    def until_close(self):
        self.protocol_version = "HTTP/1.0"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"first")
        gate("gap")
        self.wfile.write(b"last")
        self.close_connection = True

    routes = {"/": plain, "/204": no_content, "/upload": plain, "/large": large, "/until-close": until_close}

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass


class Quiet:
    """Clients that go away in mid-answer are part of the tests."""
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Tcp4(Quiet, http.server.ThreadingHTTPServer):
    pass


class Tcp6(Tcp4):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


class Unix(Quiet, socketserver.ThreadingUnixStreamServer):
    pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unix", help="also listen on this path")
    path = parser.parse_args().unix
    servers = [Tcp4(("", 0), Handler), Tcp6(("::", 0), Handler), *([Unix(path, Handler)] if path else [])]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    say(f"ready tcp4={servers[0].server_port} tcp6={servers[1].server_port} udp=0")
    for line in sys.stdin:
        for _ in range(int(line.split()[1])):
            permits.release()
    os._exit(0)


main()
