#!/usr/bin/env python3
"""What clients see: traffic.py backend ADDRESS PORT | traffic.py client VIP PORT SECONDS

The client makes a new connection every few milliseconds, keeps one of each of two kinds for the whole time (one that talks all the time, one
that is silent until the end), and listens to the adverts. It prints what it saw as JSON.
"""
import json
import select
import socket
import struct
import sys
import threading
import time


def backend(address, port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(1024)

    def serve(connection):
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def client(vip, port, seconds):
    end = time.monotonic() + seconds
    seen = {"connections": 0, "refused": [], "talks": 0, "broken": [], "longest_talk_ms": 0.0, "adverts": 0, "priorities": []}

    def connects():
        while time.monotonic() < end:
            try:
                with socket.create_connection((vip, port), timeout=3) as one:
                    one.settimeout(3)
                    one.sendall(b"hello")
                    if one.recv(16) != b"hello":
                        raise OSError("wrong answer")
                seen["connections"] += 1
            except OSError as error:
                seen["refused"].append(str(error))
            time.sleep(0.002)

    def talks():
        with socket.create_connection((vip, port), timeout=3) as one:
            one.settimeout(3)
            while time.monotonic() < end:
                began = time.monotonic()
                try:
                    one.sendall(b"still there?")
                    if one.recv(64) != b"still there?":
                        raise OSError("ended")
                except OSError as error:
                    seen["broken"].append(f"talking: {error}")
                    return
                seen["talks"] += 1
                seen["longest_talk_ms"] = max(seen["longest_talk_ms"], (time.monotonic() - began) * 1000)
                time.sleep(0.002)

    def rests():
        with socket.create_connection((vip, port), timeout=3) as one:
            one.settimeout(3)
            while time.monotonic() < end - 0.2:
                time.sleep(0.05)
            try:
                one.sendall(b"late")
                if one.recv(16) != b"late":
                    raise OSError("ended")
            except OSError as error:
                seen["broken"].append(f"resting: {error}")

    def listens():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
        group = struct.pack("4s4sI", socket.inet_aton("224.0.0.18"), socket.inet_aton("0.0.0.0"), 0)
        index = socket.if_nametoindex("far")
        group = struct.pack("4s4si", socket.inet_aton("224.0.0.18"), socket.inet_aton("0.0.0.0"), index)
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        last, longest = None, 0.0
        priorities = set()
        while (left := end - time.monotonic()) > 0:
            if not select.select([raw], [], [], min(left, 0.1))[0]:
                continue
            packet = raw.recv(2048)
            now = time.monotonic()
            message = packet[(packet[0] & 15) * 4 :]
            priorities.add(message[2])
            seen["adverts"] += 1
            if last is not None:
                longest = max(longest, now - last)
            last = now
        seen["priorities"] = sorted(priorities)
        seen["longest_silence_ms"] = longest * 1000

    threads = [threading.Thread(target=one) for one in (connects, connects, talks, rests, listens)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    print(json.dumps(seen))


if sys.argv[1] == "backend":
    backend(sys.argv[2], int(sys.argv[3]))
else:
    client(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
