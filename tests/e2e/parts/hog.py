# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fills so many MB and reads them back, again and again for so many seconds; prints passes per second, and seconds.
It works on each byte: a program that looks up pages and nothing else is slowed down several times by an emulated
MMU, which forgets them all whenever another task runs."""
import sys
import time
import zlib

MB, STEP = 1 << 20, 4 << 20
megabytes, seconds = map(int, sys.argv[1:])
begun = time.monotonic()
blocks = [bytearray(STEP) for _ in range(megabytes * MB // STEP)]
noise = bytes(range(256)) * (STEP // 256)
wanted = zlib.crc32(noise)
passes = 0.0
while time.monotonic() < begun + seconds:
    for block in blocks:
        block[:] = noise
        if zlib.crc32(block) != wanted:
            sys.exit("the memory does not hold what was written")
        passes += 1 / len(blocks)
        if time.monotonic() >= begun + seconds:
            break
took = time.monotonic() - begun
print(passes / took, took)
