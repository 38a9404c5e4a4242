"""The world of network_flood.py: takes what guests send to one UDP port, and floods whoever asks at another one.

Usage: flood_world.py TAKING ASKED, two ports; until it is killed. It asks for the least of the processor: a flood from
elsewhere is sent by another machine's.
"""
import os
import select
import socket
import sys
import time

BATCH = 256
PAYLOAD = bytes(18)
# After the last word of who asked.
PATIENCE_S = 3


def bound(port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", port))
    made.setblocking(False)
    return made


def main():
    os.nice(19)
    taking = bound(int(sys.argv[1]))  # never read: what does not fit is dropped by the kernel
    taking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    asked, target, until = bound(int(sys.argv[2])), None, 0
    print("ready", flush=True)
    while True:
        flooding = time.monotonic() < until
        if select.select([asked], [], [], 0 if flooding else None)[0]:
            _, target = asked.recvfrom(64)
            until = time.monotonic() + PATIENCE_S
        for _ in range(BATCH if target else 0):
            try:
                asked.sendto(PAYLOAD, target)
            except OSError:
                break  # a full queue, or a guest that is gone


main()
