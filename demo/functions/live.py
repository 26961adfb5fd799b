# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""live.py CGROUP MEGABYTES SECONDS NOISE: a function that keeps memory, for demo/live.

It enters the cgroup, builds its data and says "ready PORT". A request touches
half of the data and then waits for SECONDS, as a call to a database would.
NOISE is the share of each page that does not compress; the rest is text.
Imports little: on a small host its start should be cheap.
"""
import _thread
import os
import sys
import time
from _socket import AF_INET, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR, socket

PAGE = 4096
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


def build(megabytes, noise):
    size = int(noise * PAGE)
    text = (b"a row of some table, as it might be kept; " * 100)[:PAGE - size]
    return [bytearray(os.urandom(size) + text) for _ in range(int(megabytes * (1 << 20)) // PAGE)]


def serve(fd, pages, seconds):
    connection = socket(AF_INET, SOCK_STREAM, 0, fd)
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(4096)
        if not part:
            break
        request += part
    else:
        for page in pages[:len(pages) // 2]:
            page[0] = (page[0] + 1) & 255
        time.sleep(seconds)
        connection.sendall(ANSWER)
    connection.close()


def main():
    with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
        procs.write("0")
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("0")  # whatever its starter has
    seconds, noise = float(sys.argv[3]), float(sys.argv[4])
    pages = build(float(sys.argv[2]), noise)
    listener = socket(AF_INET, SOCK_STREAM)
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    os.write(1, b"ready %d\n" % listener.getsockname()[1])
    while True:
        fd, _ = listener._accept()
        _thread.start_new_thread(serve, (fd, pages, seconds))


main()
