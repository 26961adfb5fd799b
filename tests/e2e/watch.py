# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Watches cgroup files for writes: proves that nobody touched them."""
import ctypes
import os
import struct

IN_MODIFY = 0x2
IN_Q_OVERFLOW = 0x4000
EVENT = struct.Struct("iIII")


class WriteWatch:
    """Writes to the files that act on a cgroup, for the directories given."""

    def __init__(self, directories):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.paths = {}
        for directory in directories:
            for name in ("cgroup.freeze", "cgroup.kill", "memory.reclaim"):
                if (directory / name).exists():
                    path = str(directory / name)
                    watch = self.libc.inotify_add_watch(self.fd, path.encode(), IN_MODIFY)
                    if watch < 0:
                        raise OSError(ctypes.get_errno(), path)
                    self.paths[watch] = path

    def written(self):
        """Paths that were written since the last call."""
        found = []
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return found
            while data:
                watch, mask, _, length = EVENT.unpack_from(data)
                assert not mask & IN_Q_OVERFLOW
                if mask & IN_MODIFY:
                    found.append(self.paths[watch])
                data = data[EVENT.size + length:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)
