#!/usr/bin/env python3
"""A full disk: sends are refused with a status that asks to try later, receives and acknowledgements go on, and sends go on by
themselves when there is space again. Runs in a mount namespace of its own, with a small tmpfs as the disk:

    unshare --mount --map-root-user full_disk.py BINARIES DIRECTORY       prints PASS or FAIL lines
"""
import json
import pathlib
import subprocess
import sys

from server import Server, ServerEnded

DISK_MB = 192
BALLAST_MB = 80
SEGMENT_MB = 8
BODY_BYTES = 64 << 10
RESUME_SECONDS = 5
TOO_MANY_REQUESTS = 42900
CONFIG = {"broker": {"log": {"segment_bytes": f"{SEGMENT_MB}MiB"}}, "offset": {"log": {"segment_bytes": "4MiB"}}}
TOPIC, GROUP = "disk", "disk-group"


class Steps:
    def __init__(self):
        self.failed = False

    def check(self, good, name, detail):
        self.failed |= not good
        print(f"{'PASS' if good else 'FAIL'} full disk: {name}: {detail}", flush=True)


def torture(binaries, *arguments):
    done = subprocess.run([str(binaries / "fulmar-torture"), *map(str, arguments)], capture_output=True, text=True, timeout=150, check=False)
    return json.loads(done.stdout) if done.stdout.startswith("{") else {"code": None, "message": done.stderr.strip()}


def drain(server, most):
    """Receives and acknowledges; the ids."""
    ids = []
    while len(ids) < most:
        got = server.control("receive", TOPIC, "--group", GROUP, "--max", min(32, most - len(ids)), "--wait", "2s", "--ack")
        if not got:
            break
        ids += [one["messageId"] for one in got]
    return ids


def scenario(binaries, disk, server, steps):
    server.start()
    server.wait_serving()
    server.control("topic", "create", TOPIC, "--type", "normal", "--queues", 4)
    server.control("group", "create", GROUP, "--order", "concurrent", "--max-attempts", 17, "--from", "earliest")
    ballast = disk / "ballast"
    with open(ballast, "wb") as file:
        for _ in range(BALLAST_MB):
            file.write(bytes(1 << 20))

    full = torture(binaries, "fill", server.endpoint, TOPIC, BODY_BYTES)
    stored = full.get("stored", 0)
    steps.check(full.get("refused") is True and full["code"] == TOO_MANY_REQUESTS, "sends are refused with a retriable status",
                f"after {stored} messages of {BODY_BYTES >> 10} KiB: {full.get('name', full.get('code'))}: {full.get('message')}")
    steps.check(server.alive(), "the server lives", server.endpoint)

    half = drain(server, stored // 2)
    steps.check(len(set(half)) == stored // 2, "receives and acknowledgements go on", f"{len(set(half))} of {stored // 2} asked for")
    try:
        server.kill()
        server.start()
        seconds = server.wait_serving()
        steps.check(True, "it starts again after kill -9 on the full disk", f"{seconds:.1f} s")
    except ServerEnded as error:
        return steps.check(False, "it starts again after kill -9 on the full disk", error)

    ballast.unlink()
    back = torture(binaries, "until-stored", server.endpoint, TOPIC)
    steps.check(back.get("code") == 20000 and back["seconds"] < RESUME_SECONDS, "sends go on by themselves when there is space",
                f"after {back.get('seconds', 0):.2f} s, {back.get('attempts')} attempts {back.get('message', '')}".rstrip())
    rest = drain(server, stored)
    # Acknowledged in time before the kill, so nothing of the first half comes again; the refill added one.
    again = len(set(rest) & set(half[:-64]))
    steps.check(len(set(half) | set(rest)) == stored + 1 and again == 0, "nothing is lost and nothing comes twice",
                f"{len(set(half) | set(rest))} of {stored + 1} messages, {again} again")


def main():
    binaries, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    disk = directory / "disk"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)], check=True)
    steps = Steps()
    server = Server(binaries, directory, CONFIG)
    server.command[server.command.index("--data") + 1] = str(disk / "data")
    try:
        scenario(binaries, disk, server, steps)
    except Exception as error:  # whatever it is, the server must not stay
        steps.check(False, "the scenario ends", f"{type(error).__name__}: {error}")
    finally:
        server.close()
    return 1 if steps.failed else 0


if __name__ == "__main__":
    sys.exit(main())
