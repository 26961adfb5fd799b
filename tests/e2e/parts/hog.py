# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Fills so many MB, works on them again and again for so many seconds; prints passes per second, and seconds."""
import sys
import time

MB, STEP = 1 << 20, 16 << 20
megabytes, seconds = map(int, sys.argv[1:])
begun = time.monotonic()
blocks = [bytearray(STEP) for _ in range(megabytes * MB // STEP)]
noise = bytes(range(256)) * 16
passes = 0.0
while time.monotonic() < begun + seconds:
    for block in blocks:
        block[::4096] = noise[:STEP // 4096]
        passes += 1 / len(blocks)
        if time.monotonic() >= begun + seconds:
            break
took = time.monotonic() - begun
print(passes / took, took)
