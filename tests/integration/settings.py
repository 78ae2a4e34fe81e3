"""Settings of topics and groups, and what hangs on them: suspension, time to live, priority, dead letters."""
import itertools
import json
import signal
import threading

from harness import case, check, same, until

USAGE, NOT_FOUND = 2, 3


def dlq(server, *arguments):
    return [json.loads(line) for line in server.ctl("--output", "json", "dlq", *arguments).splitlines()]


def bodies(messages):
    return [message["body"] for message in messages]


@case("settings of topics and groups are shown, changed one by one, switched off, and kept over a restart")
def _(context):
    server = context.server()
    made = server.json("topic", "create", "t", "--message-ttl", "90s", "--dedup-window", "10m", "--quota-messages", 500, "--quota-bytes", 1000000)
    same((made["messageTtlSeconds"], made["dedupWindowSeconds"], made["quota"]), (90, 600, {"messages": 500, "bytes": 1000000}), "made")
    changed = server.json("topic", "update", "t", "--message-ttl", "0", "--quota-bytes", 0)
    same((changed["messageTtlSeconds"], changed["dedupWindowSeconds"], changed["quota"]), (0, 600, {"messages": 500, "bytes": 0}), "changed")
    group = server.json("group", "create", "g", "--quota-messages", 7)
    same((group["mode"], group["suspended"], group["quota"]), ("clustering", False, {"messages": 7, "bytes": 0}), "group")
    same(server.json("group", "suspend", "g")["suspended"], True, "suspended")
    server.ctl("topic", "create", "x", "--dedup-window", "1ms", status=USAGE)
    server.ctl("topic", "create", "x", "--message-ttl", "-1s", status=USAGE)
    server.ctl("group", "suspend", "nobody", status=NOT_FOUND)
    server.stop()
    server.start()
    topic = server.json("topic", "describe", "t")
    same((topic["messageTtlSeconds"], topic["dedupWindowSeconds"], topic["quota"]["messages"]), (0, 600, 500), "topic after the restart")
    group = server.json("group", "describe", "g")
    same((group["mode"], group["suspended"]), ("clustering", True), "group after the restart")
    check("suspended" in server.ctl("group", "describe", "g") and "Dedup" in server.ctl("topic", "describe", "t"), "text")


@case("a suspended group gets nothing, over a restart too, and whoever waits is woken by its resumption")
def _(context):
    server = context.server()
    server.ctl("topic", "create", "t")
    server.ctl("group", "create", "g")
    server.ctl("send", "t", "first")
    held = server.json("receive", "t", "--group", "g")
    same(bodies(held), ["first"], "before")
    server.ctl("group", "suspend", "g")
    server.ctl("send", "t", "second")
    same(server.json("receive", "t", "--group", "g", "--wait", "1s"), [], "suspended")
    same(bodies(server.json("receive", "t", "--group", "other", "--max", 2, "--ack")), ["first", "second"], "another group")
    same(server.json("group", "describe", "g")["lag"], 2, "lag")
    server.stop(signal.SIGKILL)
    server.start()
    same(server.json("receive", "t", "--group", "g", "--wait", "1s"), [], "suspended after a crash")
    got = []
    waiting = threading.Thread(target=lambda: got.extend(server.json("receive", "t", "--group", "g", "--wait", "30s", "--ack")))
    waiting.start()
    until(lambda: server.json("cluster", "status")["shards"][0]["parkedReceives"] == 1, 20, "a parked receive")
    server.ctl("group", "resume", "g")
    waiting.join(20)
    same(bodies(got), ["second"], "resumed")


@case("an expired message is passed over and never becomes a dead letter")
def _(context):
    server = context.server("--broker.receive.min_invisible_duration=1s")
    server.ctl("topic", "create", "t", "--queues", 1)
    server.ctl("group", "create", "g", "--max-attempts", 1)
    server.ctl("send", "t", "short", "--ttl", "1s")
    server.ctl("send", "t", "long", "--ttl", "1h")
    server.ctl("send", "t", "dies", "--ttl", "1500ms")
    check("FULMAR_TTL_MS" in server.ctl("send", "t", "x", "--property", "FULMAR_TTL_MS=soon", status=USAGE), "a bad value is named")
    held = server.json("receive", "t", "--group", "h", "--max", 3)
    same(bodies(held), ["short", "long", "dies"], "at once")
    number = itertools.count()
    late = until(lambda: [group for group in [f"late-{next(number)}"]
                          if bodies(server.json("receive", "t", "--group", group, "--max", 3, "--wait", "300ms", "--ack")) == ["long"]], 20, "two expired")[0]
    same(server.json("group", "describe", late)["lag"], 0, "nothing is left")
    series = [line for line in server.http("/metrics")[1].splitlines() if line.startswith("fulmar_broker_expired_total") and f'"{late}"' in line]
    same([line.rsplit(" ", 1)[1] for line in series], ["2"], "counted")


@case("in a topic of type priority the higher number comes first, over a restart too")
def _(context):
    server = context.server()
    server.ctl("topic", "create", "p", "--type", "priority")
    same(server.json("topic", "describe", "p")["queues"], 10, "levels")
    for body, priority in (("3a", 3), ("0", 0), ("9", 9), ("3b", 3), ("5", 5)):
        server.ctl("send", "p", body, "--priority", priority)
    server.ctl("send", "p", "normal", status=USAGE)
    server.stop(signal.SIGKILL)
    server.start()
    same(bodies(server.json("receive", "p", "--group", "g", "--max", 5, "--ack")), ["9", "5", "3a", "3b", "0"], "order")


@case("dead letters are listed and redriven: by filter, dry run, rate, each once, with a guard against loops")
def _(context):
    server = context.server("--broker.receive.min_invisible_duration=1s")
    server.ctl("topic", "create", "t", "--queues", 1)
    server.ctl("group", "create", "g", "--max-attempts", 1)
    same(server.ctl("dlq", "redrive", "g"), "0 redriven\n", "no message died")
    for i in range(6):
        server.ctl("send", "t", f"m{i}", "--tag", "even" if i % 2 == 0 else "odd", "--property", f"number={i}", "--key", f"k{i}")

    def let_die(count):
        same(len(server.json("receive", "t", "--group", "g", "--max", count, "--invisible", "1s")), count, "received")
        until(lambda: server.json("group", "describe", "g")["lag"] == 0, 20, "they are dead letters")

    let_die(6)
    listed = dlq(server, "list", "g")
    same(sorted((one["originTopic"], one["tag"], one["redrives"]) for one in listed), [("t", "even", 0)] * 3 + [("t", "odd", 0)] * 3, "listed")
    same(len(dlq(server, "list", "g", "--property", "number=3")), 1, "by property")
    dry = dlq(server, "redrive", "g", "--tag", "even", "--dry-run")
    same([one["result"] for one in dry], ["would be redriven"] * 3, "dry run")
    same(server.json("receive", "t", "--group", "g", "--wait", "0s"), [], "nothing was sent")
    check("3 redriven" in server.ctl("dlq", "redrive", "g", "--tag", "even", "--rate", 100), "text")
    again = server.json("receive", "t", "--group", "h", "--max", 9, "--ack", "--wait", "1s")
    same(sorted(one["body"] for one in again), ["m0", "m0", "m1", "m2", "m2", "m3", "m4", "m4", "m5"], "sent again")
    back = [one for one in again if "FULMAR_REDRIVE_COUNT" in one["properties"]]
    same({(one["body"], one["tag"], one["keys"][0], one["properties"]["number"]) for one in back},
         {(f"m{i}", "even", f"k{i}", str(i)) for i in (0, 2, 4)}, "all parts came along")
    same(dlq(server, "redrive", "g", "--tag", "even"), [], "each once")
    let_die(3)
    same([one["result"] for one in dlq(server, "redrive", "g", "--tag", "even", "--max-redrives", 1)], ["held back"] * 3, "the guard")
    server.ctl("topic", "create", "elsewhere")
    moved = dlq(server, "redrive", "g", "--tag", "odd || none", "--to", "elsewhere", "--max", 2)
    same(len(moved), 2, "at most two")
    same(len(server.json("receive", "elsewhere", "--group", "e", "--max", 3, "--ack", "--wait", "1s")), 2, "elsewhere")
    server.ctl("dlq", "redrive", "g", "--property", "novalue", status=USAGE)
