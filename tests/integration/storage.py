"""What is on the disk: rebuilding the index, damage in every kind of file, a disk that fails."""
import base64
import json
import os
import random
import shutil
import subprocess
import sys

from harness import ROOT, SMALL_SEGMENTS, Server, case, check, same, until

HEADER_BYTES = 4096  # flips stay behind what every segment file begins with


def fill(server, count, topic="t", size=200):
    """Sends through fulmarctl's own connections would be slow one by one; the bodies are remembered by id."""
    bodies = {}
    for i in range(count):
        body = f"{topic} {i} " + "x" * size
        bodies[server.json("send", topic, body)["messageId"]] = body
    return bodies


def receive_all(server, topic, group, wait="1s"):
    return {m["messageId"]: m["body"] for m in server.json("receive", topic, "--group", group, "--max", 10000, "--wait", wait, "--ack")}


def described(server):
    """All that can be seen of topics and groups from outside, but for what counts since the start."""
    out = {}
    for kind in ("topic", "group"):
        for entry in server.json(kind, "list"):
            full = server.json(kind, "describe", entry["name"])
            for volatile in ("messagesIn", "bytesIn", "clients"):
                full.pop(volatile, None)
            out[kind, entry["name"]] = full
    return out


def rebuild(context, server, status=0):
    return context.fulmar("index", "rebuild", "--data", server.data, *server.flags, status=status, seconds=60)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def segments(server, part="broker"):
    return sorted((server.data / part / "log" / "segments").glob("*.seg"))


@case("index rebuild makes the same index again from the log alone")
def _(context):
    server = context.server("--broker.receive.min_invisible_duration=500ms")
    server.ctl("topic", "create", "t", "--queues", 3)
    server.ctl("topic", "create", "gone")
    server.ctl("send", "gone", "x")
    server.ctl("topic", "delete", "gone")
    server.ctl("group", "create", "g", "--max-attempts", 1)
    bodies = fill(server, 40)
    acked = {m["messageId"] for m in server.json("receive", "t", "--group", "g", "--max", 10, "--ack")}
    server.json("receive", "t", "--group", "g", "--max", 1, "--invisible", "1s")
    until(lambda: any(topic["name"] == "%DLQ%g" for topic in server.json("topic", "list")), 10, "a dead letter")
    until(lambda: server.json("group", "describe", "g")["lag"] == 29, 10, "it left the group")
    before = described(server)
    error = context.fulmar("index", "rebuild", "--data", server.data, *server.flags, status=1)
    check("stop" in error or "in use" in error or "LOCK" in error, "a running server's index is left alone:", error)
    same(server.stop(), 0, "status")
    shutil.rmtree(server.data / "broker" / "index")
    shutil.rmtree(server.data / "offset" / "index")
    rebuild(context, server)
    server.start()
    same(described(server), before, "topics and groups")
    same(receive_all(server, "t", "new"), bodies, "all messages")
    rest = receive_all(server, "t", "g")
    check(not acked & rest.keys(), "acknowledged ones came again")
    same(len(rest), 29, "what was not acknowledged")
    same(len(receive_all(server, "%DLQ%g", "undertaker")), 1, "dead letters")


@case("the index is also rebuilt after retention removed the segment in which the topic was made")
def _(context):
    server = context.server("--broker.log.segment_bytes=1MiB", "--broker.retention.bytes=3MiB", "--broker.retention.check_interval=100ms")
    server.ctl("topic", "create", "t", "--queues", 2)
    server.ctl("topic", "create", "quiet", "--queues", 3)
    server.ctl("group", "create", "g", "--max-attempts", 7)
    first = segments(server)[0]
    (context.dir / "body").write_bytes(os.urandom(300_000))
    sent = [server.json("send", "t", "--file", context.dir / "body")["messageId"] for _ in range(30)]
    until(lambda: not first.exists(), 20, f"retention removes {first.name}")
    low = until(lambda: min(queue["minOffset"] for queue in server.json("topic", "describe", "t")["queueStates"]), 10, "the index follows")
    check(low > 0, low)
    same(server.stop(), 0, "status")
    server.start()
    before = described(server)
    kept = receive_all(server, "t", "g")
    check(0 < len(kept) < len(sent) and set(kept) <= set(sent), f"{len(kept)} of {len(sent)}")
    server.stop()
    for part in ("broker", "offset"):
        shutil.rmtree(server.data / part / "index")
    rebuild(context, server)
    server.start()
    after = described(server)
    for key in before:
        for volatile in ("queueStates", "lag"):
            before[key].pop(volatile, None)
            after[key].pop(volatile, None)
    same(after, before, "topics and groups")
    same(set(receive_all(server, "t", "new")), set(kept), "what retention kept")
    same(receive_all(server, "t", "g", wait="0s"), {}, "what was acknowledged stays so")
    check(server.json("send", "t", "goes on")["messageId"], "sends go on")


@case("retention by time removes whole segments, and their messages with them")
def _(context):
    server = context.server("--broker.log.segment_bytes=1MiB", "--broker.retention.time=2s", "--broker.retention.check_interval=100ms")
    (context.dir / "body").write_bytes(os.urandom(400_000))
    for _ in range(8):
        server.ctl("send", "t", "--file", context.dir / "body")
    first = segments(server)[0]
    server.ctl("send", "t", "the last one")
    until(lambda: not first.exists(), 20, "the old segment goes")
    # Not acknowledged: retention may take what was just received.
    left = {m["messageId"]: m["body"] for m in server.json("receive", "t", "--group", "g", "--max", 20, "--wait", "500ms")}
    check("the last one" in left.values() or not left, left.keys())
    check(len(left) < 9, len(left))


def with_three_segments(context):
    server = context.server("--broker.log.segment_bytes=1MiB")
    server.ctl("topic", "create", "t", "--queues", 1)
    (context.dir / "body").write_bytes(os.urandom(200_000))
    sent = [server.json("send", "t", "--file", context.dir / "body")["messageId"] for _ in range(12)]
    return server, sent


@case("a flipped bit in the middle of the log stops a start that reads it, naming file and byte")
def _(context):
    server, sent = with_three_segments(context)
    server.process.kill()
    server.process.wait()
    early = segments(server)[0]
    flip(early, 500_000)
    shutil.rmtree(server.data / "broker" / "index")  # so that all of the log has to be read
    text = context.fulmar("standalone", "--listen", "127.0.0.1:0", "--metrics", "", "--data", server.data, *server.flags, status=1)
    sentence = text.strip().splitlines()[-1]
    check(early.name in sentence and any(word.strip(",:;.()").isdigit() for word in sentence.split()), sentence)
    error = rebuild(context, server, status=1)
    check(early.name in error, "index rebuild says the same:", error)
    flip(early, 500_000)
    server.start()
    same(set(receive_all(server, "t", "g")), set(sent), "with the bit put right, everything is there")


@case("a flipped bit in a segment that no start reads again is met by the reader, who never gets the garbage")
def _(context):
    server, sent = with_three_segments(context)
    same(server.stop(), 0, "status")
    early = segments(server)[0]
    flip(early, 500_000)
    server.start()
    got = receive_all(server, "t", "g", wait="2s")
    body = base64.b64encode((context.dir / "body").read_bytes()).decode()
    check(len(sent) - 2 <= len(got) < len(sent), f"{len(got)} of {len(sent)}: all but what is damaged")
    check(server.metric("fulmar_broker_unreadable_messages_total") > 0, "it is counted")
    check(server.json("group", "describe", "g")["lag"] == len(sent) - len(got), "it stays in the lag")
    for message in server.json("receive", "t", "--group", "other", "--max", 12, "--wait", "1s"):
        check(message["bodyBase64"] == body, "a damaged body was delivered")


@case("a flipped bit in any file of the index is found and the index is made again")
def _(context):
    server = context.server("--broker.index.memtable_bytes=1MiB")
    server.ctl("topic", "create", "t", "--queues", 1)
    bodies = fill(server, 15)
    same(server.stop(), 0, "status")
    index = server.data / "broker" / "index"
    tables = sorted(index.glob("*.sst"))
    check(tables, "an orderly end makes the index durable in a table: ", sorted(p.name for p in index.iterdir()))
    chance = random.Random(7)
    for path in (tables[-1], next(index.glob("MANIFEST-*")), index / "CURRENT"):
        kept = path.read_bytes()
        flip(path, chance.randrange(len(kept)))
        server.start()
        same(receive_all(server, "t", f"after-{path.suffix or path.name}".replace(".", "-")), bodies, f"messages after damage of {path.name}")
        same(server.stop(), 0, "status")
        index_files = sorted(index.glob("*.sst"))
        check(index_files, "an index is there again")
        if path.name != "CURRENT" and not path.exists():
            continue


@case("a torn tail of the log is cut: what was acknowledged is there, the server starts")
def _(context):
    server = context.server()
    server.ctl("topic", "create", "t", "--queues", 1)
    bodies = fill(server, 10)
    server.process.kill()
    server.process.wait()
    server.start()
    same(receive_all(server, "t", "g"), bodies, "messages after kill -9")


@case("after fdatasync answered EIO nothing is reported as stored, and health says why")
def _(context):
    shims = [folder / "libfulmar_failing_sync.so" for folder in (context.bin, ROOT / "build" / "release" / "bin")]
    shim = next((path for path in shims if path.exists()), None)
    check(shim, f"{shims[0]} is not built")
    trigger = context.dir / "fail-now"
    server = Server(context, *SMALL_SEGMENTS,
                    environment={"LD_PRELOAD": str(shim), "FULMAR_FAILING_SYNC": str(trigger), "FULMAR_FAILING_SYNC_DIR": "/broker/log/",
                                 "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}).start()
    good = fill(server, 5)
    same(server.http("/healthz")[0], 200, "healthy before")
    trigger.touch()
    for _ in range(3):
        done = server.run_ctl("--timeout", "5s", "send", "t", "lost")
        check(done.returncode not in (0, 2), f"exit {done.returncode} {done.stderr}")
    status, text = until(lambda: server.http("/healthz") if server.http("/healthz")[0] == 503 else None, 5, "/healthz says 503")
    check("error" in text.lower() or "fail" in text.lower() or "EIO" in text, f"{status}: {text}")
    probe = subprocess.run([str(context.bin / "fulmarctl"), "-e", server.endpoint, "-o", "json", "cluster", "status"], capture_output=True, text=True, timeout=30, check=False)
    shard = json.loads(probe.stdout)["shards"][0]
    check(not shard["serving"] and shard["problem"], shard)
    check(health(server) == b"\x08\x02", f"grpc.health.v1 says {health(server)}")
    trigger.unlink()
    check(server.run_ctl("--timeout", "3s", "send", "t", "still lost").returncode != 0, "a disk that failed once is not trusted again")
    server.process.kill()
    server.process.wait()
    server.start()
    got = receive_all(server, "t", "g")
    check(set(good) <= set(got), "what was acknowledged before is there after a restart")


def health(server):
    """The answer of grpc.health.v1.Health/Check, by the small client of the interop tests."""
    sys.path.insert(0, str(ROOT / "tests" / "interop" / "harness"))
    import health as client
    host, port = server.endpoint.rsplit(":", 1)
    return b"\x08\x01" if client.check(host, int(port)) else b"\x08\x02"
