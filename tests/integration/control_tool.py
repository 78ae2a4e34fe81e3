"""fulmarctl: every command, its text, its JSON, its exit codes."""
import base64
import json
import signal
import subprocess
import threading

from harness import case, check, same, until

USAGE, NOT_FOUND, CONFLICT, NO_ANSWER = 2, 3, 4, 5


@case("topic: create is idempotent, any case of --type, update, list, describe, delete")
def _(context):
    server = context.server()
    made = server.json("topic", "create", "t", "--type", "NORMAL", "--queues", 2, "--durability", "Async")
    same((made["result"], made["type"], made["queues"], made["durability"]), ("created", "normal", 2, "async"), "created")
    again = server.json("topic", "create", "t", "--type", "normal", "--queues", 2, "--durability", "async")
    same(again["result"], "exists", "again")
    check("other settings" in server.ctl("topic", "create", "t", "--queues", 3, status=CONFLICT), "conflict")
    for kind in ("normal", "Fifo", "DELAY", "transaction", "Priority", "mixed"):
        same(server.json("topic", "create", f"t-{kind}", "--type", kind)["type"], kind.lower(), kind)
    same(server.json("topic", "describe", "t-mixed")["queues"], 4, "queues by default")
    server.ctl("topic", "create", "x", "--type", "odd", status=USAGE)
    server.ctl("topic", "create", "a b", status=USAGE)
    server.ctl("topic", "create", "x", "--queues", 0, status=USAGE)
    server.ctl("topic", "create", status=USAGE)
    same(server.json("topic", "update", "t", "--queues", 6, "--durability", "sync")["queues"], 6, "more queues")
    described = server.json("topic", "describe", "t")
    same((described["queues"], described["durability"], len(described["queueStates"])), (6, "sync", 6), "described")
    server.ctl("topic", "update", "t", "--queues", 2, status=USAGE)
    server.ctl("topic", "update", "t", "--type", "fifo", status=USAGE)
    server.ctl("topic", "update", "nowhere", "--queues", 2, status=NOT_FOUND)
    check("nowhere" in server.ctl("topic", "describe", "nowhere", status=NOT_FOUND), "it is named")
    same(len(server.json("topic", "list")), 7, "topics")
    table = server.ctl("topic", "list")
    check(table.startswith("TOPIC") and "t-mixed" in table, table)
    check("created" in server.ctl("topic", "create", "text"), "text")
    check("QUEUE" in server.ctl("topic", "describe", "text"), "text")
    server.ctl("send", "t", "gone with the topic")
    same(server.json("topic", "delete", "t")["result"], "deleted", "deleted")
    server.ctl("topic", "delete", "t", status=NOT_FOUND)
    server.ctl("topic", "describe", "t", status=NOT_FOUND)
    server.ctl("topic", "create", "t")
    same(sum(queue["messages"] for queue in server.json("topic", "describe", "t")["queueStates"]), 0, "the new one is empty")


@case("group: create is idempotent, update, list, describe, delete")
def _(context):
    server = context.server()
    settings = ["--order", "Concurrent", "--max-attempts", 3, "--from", "LATEST", "--retry-delays", "1s,5s"]
    made = server.json("group", "create", "g", *settings)
    same((made["result"], made["order"], made["maxAttempts"], made["from"], made["retryDelaysSeconds"]), ("created", "concurrent", 3, "latest", [1.0, 5.0]), "created")
    same(server.json("group", "create", "g", *settings)["result"], "exists", "again")
    server.ctl("group", "create", "g", "--max-attempts", 4, status=CONFLICT)
    server.ctl("group", "create", "g", "--order", "odd", status=USAGE)
    server.ctl("group", "create", "a b", status=USAGE)
    same(server.json("group", "create", "f", "--order", "fifo")["order"], "fifo", "fifo")
    same(server.json("group", "update", "g", "--max-attempts", 5)["maxAttempts"], 5, "updated")
    server.ctl("group", "update", "nobody", "--max-attempts", 5, status=NOT_FOUND)
    same(server.json("group", "describe", "g")["maxAttempts"], 5, "described")
    check("nobody" in server.ctl("group", "describe", "nobody", status=NOT_FOUND), "it is named")
    same([group["name"] for group in server.json("group", "list")], ["f", "g"], "groups")
    check("GROUP" in server.ctl("group", "list"), "text")
    same(server.json("group", "delete", "g")["result"], "deleted", "deleted")
    server.ctl("group", "delete", "g", status=NOT_FOUND)
    server.ctl("group", "describe", "g", status=NOT_FOUND)


@case("ledger get says what is not there, and what cannot be a name")
def _(context):
    server = context.server()
    check("k-1" in server.ctl("ledger", "get", "g", "k-1", status=NOT_FOUND), "the key is named")
    server.ctl("ledger", "get", "a b", "k", status=USAGE)
    server.ctl("ledger", "get", "g", "k" * 257, status=USAGE)
    server.ctl("ledger", "get", "g", status=USAGE)


@case("group describe shows lag, what is in flight and the oldest unconsumed message")
def _(context):
    server = context.server()
    server.ctl("topic", "create", "t", "--queues", 1)
    for i in range(5):
        server.ctl("send", "t", f"body {i}")
    server.ctl("group", "create", "g")
    first = server.json("receive", "t", "--group", "g", "--max", 2)
    server.ctl("receive", "t", "--group", "g", "--max", 1, "--ack")
    group = server.json("group", "describe", "g")
    queue = group["queueStates"][0]
    same((group["lag"], group["inFlight"], queue["lag"], queue["inFlight"], queue["nextOffset"], queue["cursor"]), (4, 2, 4, 2, 5, 0), "counts")
    same(queue["oldestUnconsumed"], first[0]["storedAt"], "oldest unconsumed")
    text = server.ctl("group", "describe", "g")
    check("in flight 2" in text and "OLDEST UNCONSUMED" in text and " ago" in text, text)
    server.ctl("group", "create", "new", "--from", "latest")
    server.json("receive", "t", "--group", "new", "--wait", "0s")
    same(server.json("group", "describe", "new")["lag"], 0, "a group that starts at the end")
    same(server.json("group", "describe", "new")["queueStates"][0]["oldestUnconsumed"], None, "nothing unconsumed")


@case("group reset-offset moves a group back, forward, to a time and to an offset while consumers run")
def _(context):
    server = context.server()
    server.ctl("topic", "create", "t", "--queues", 1)
    server.ctl("group", "create", "g")
    bodies = []
    followers = [subprocess.Popen([str(context.bin / "fulmarctl"), "--endpoint", server.endpoint, "--output", "json", "receive", "t", "--group", "g", "--ack", "--follow"],
                                  stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lock = threading.Lock()

    def follow(process):
        for line in process.stdout:
            with lock:
                bodies.append(json.loads(line)["body"])

    threads = [threading.Thread(target=follow, args=[process]) for process in followers]
    for thread in threads:
        thread.start()

    def have(wanted, what):
        until(lambda: len(bodies) >= len(wanted), 15, f"{what}: {wanted}, so far {bodies}")
        until(lambda: server.json("group", "describe", "g")["lag"] == 0, 10, f"{what}: all are acknowledged")
        with lock:
            same(sorted(bodies), wanted, what)
            bodies.clear()

    try:
        times = []
        for i in range(4):
            server.ctl("send", "t", f"b{i}")
            have([f"b{i}"], "first time")
            times.append(server.json("receive", "t", "--group", f"probe{i}", "--max", 9, "--wait", "200ms")[-1]["storedAt"])
        for arguments, wanted in ((["--to", "earliest"], ["b0", "b1", "b2", "b3"]), (["--offset", 2], ["b2", "b3"]),
                                  (["--time", times[3]], ["b3"]), (["--time", "1h"], ["b0", "b1", "b2", "b3"])):
            same(server.json("group", "reset-offset", "g", "--topic", "t", *arguments)["result"], "reset", arguments)
            have(wanted, arguments)
        server.ctl("group", "reset-offset", "g", "--topic", "t", "--to", "LATEST")
        server.ctl("send", "t", "after")
        have(["after"], "after a reset to the end")
    finally:
        for process in followers:
            process.terminate()
            process.wait()
        for thread in threads:
            thread.join()
    # Forward, without consumers: what lies before is skipped.
    for i in range(3):
        server.ctl("send", "t", f"skipped {i}")
    server.ctl("group", "reset-offset", "g", "--topic", "t", "--to", "latest")
    same(server.json("group", "describe", "g")["lag"], 0, "lag")
    same(server.stop(), 0, "status")
    server.start()
    same(server.json("group", "describe", "g")["lag"], 0, "lag after a restart")
    server.ctl("group", "reset-offset", "g", "--topic", "t", status=USAGE)
    server.ctl("group", "reset-offset", "g", "--topic", "t", "--time", "soon", status=USAGE)
    server.ctl("group", "reset-offset", "nobody", "--topic", "t", "--to", "latest", status=NOT_FOUND)
    server.ctl("group", "reset-offset", "g", "--topic", "nowhere", "--to", "latest", status=NOT_FOUND)


@case("send takes a body, a file and standard input; receive gives all of it back")
def _(context):
    server = context.server()
    sent = server.json("send", "t", "a body", "--tag", "a", "--key", "k1", "--key", "k2", "--property", "p=v", "--property", "q=x=y")
    got, = server.json("receive", "t", "--group", "g", "--ack")
    same((got["messageId"], got["body"], got["tag"], got["keys"], got["properties"], got["attempt"]),
         (sent["messageId"], "a body", "a", ["k1", "k2"], {"p": "v", "q": "x=y"}, 1), "received")
    binary = bytes(range(256)) * 100
    (context.dir / "file.bin").write_bytes(binary)
    server.ctl("send", "t", "--file", context.dir / "file.bin")
    got, = server.json("receive", "t", "--group", "g", "--ack")
    same((base64.b64decode(got["bodyBase64"]), got["body"], got["bodyBytes"]), (binary, None, len(binary)), "file")
    for arguments in ([], ["-"], ["--file", "-"]):
        server.ctl("send", "t", *arguments, stdin="from standard input\n")
        same(server.json("receive", "t", "--group", "g", "--ack")[0]["body"], "from standard input\n", arguments)
    text = server.ctl("send", "t", "for people", "--tag", "x", "--property", "p=v")
    check(text.startswith("stored "), text)
    text = server.ctl("receive", "t", "--group", "g")
    check("for people" in text and "tag x" in text and "p = v" in text, text)
    for wrong in (["t", ""], ["t", "x", "--property", "novalue"], ["t", "x", "--file", "y"], ["a b", "x"], ["t", "x", "--tag", "a|b"], ["t", "x", "--property", "KEYS=v"]):
        server.ctl("send", *wrong, status=USAGE)
    server.ctl("send", "t", "--file", "gone", status=NOT_FOUND)
    (context.dir / "big").write_bytes(b"x" * ((4 << 20) + 1))
    server.ctl("send", "t", "--file", context.dir / "big", status=USAGE)


@case("receive filters by --tag, stops at --max, waits as long as --wait, redelivers without --ack")
def _(context):
    server = context.server("--broker.receive.min_invisible_duration=500ms")
    server.ctl("topic", "create", "t")
    for tag in "abcab":
        server.ctl("send", "t", f"tagged {tag}", "--tag", tag)
    got = server.json("receive", "t", "--group", "g", "--tag", "a || c", "--max", 9, "--wait", "1s", "--ack")
    same(sorted(message["tag"] for message in got), ["a", "a", "c"], "tags")
    same(len(server.json("receive", "t", "--group", "all", "--max", 2, "--ack")), 2, "--max")
    same(len(server.json("receive", "t", "--group", "all", "--max", 40, "--wait", "1s", "--ack")), 3, "the rest")
    same(server.run_ctl("receive", "t", "--group", "all", "--wait", "0s").returncode, 0, "nothing there is no error")
    once, = server.json("receive", "t", "--group", "again", "--invisible", "1s", "--max", 1)
    server.json("receive", "t", "--group", "again", "--max", 4, "--ack")
    twice, = server.json("receive", "t", "--group", "again", "--wait", "5s", "--ack")
    same((twice["messageId"], once["attempt"], twice["attempt"]), (once["messageId"], 1, 2), "redelivered")
    server.ctl("receive", "t", status=USAGE)
    server.ctl("receive", "t", "--group", "g", "--tag", "a|b", status=USAGE)
    sql = server.json("receive", "t", "--group", "sql", "--sql", "TAGS IN ('a', 'c') AND missing IS NULL", "--max", 9, "--wait", "1s", "--ack")
    same(sorted(message["body"] for message in sql), sorted(message["body"] for message in got), "--sql")
    server.ctl("receive", "t", "--group", "g", "--sql", "a >", status=USAGE)
    server.ctl("receive", "t", "--group", "a b", status=USAGE)


@case("receive --follow prints each message at once, one JSON object per line, until it is interrupted")
def _(context):
    server = context.server()
    server.ctl("topic", "create", "t")
    with subprocess.Popen([str(context.bin / "fulmarctl"), "-e", server.endpoint, "-o", "json", "receive", "t", "--group", "g", "--follow", "--ack"],
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            for i in range(3):
                sent = server.json("send", "t", f"body {i}")
                got = json.loads(process.stdout.readline())
                same((got["messageId"], got["body"]), (sent["messageId"], f"body {i}"), "followed")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(10)
    until(lambda: server.json("group", "describe", "g")["lag"] == 0, 5, "acknowledged")


@case("a message that is never acknowledged becomes a dead letter that receive can read")
def _(context):
    server = context.server("--broker.receive.min_invisible_duration=500ms")
    server.ctl("group", "create", "g", "--max-attempts", 2, "--retry-delays", "1s")
    sent = server.json("send", "t", "poison")
    for attempt in (1, 2):
        got, = server.json("receive", "t", "--group", "g", "--invisible", "1s", "--wait", "10s")
        same(got["attempt"], attempt, "attempt")
    until(lambda: any(topic["name"] == "%DLQ%g" for topic in server.json("topic", "list")), 10, "the dead-letter topic")
    dead, = server.json("receive", "%DLQ%g", "--group", "undertaker", "--wait", "10s", "--ack")
    same((dead["body"], dead["deadLetterOf"]), ("poison", {"topic": "t", "messageId": sent["messageId"]}), "dead letter")
    same(server.metric("fulmar_broker_dead_letters_total"), 1.0, "metric")


@case("cluster status shows shards and services")
def _(context):
    server = context.server()
    server.ctl("send", "t", "x")
    status = server.json("cluster", "status")
    shard, = status["shards"]
    check(status["healthy"] and shard["serving"], status)
    same((shard["name"], shard["endpoint"], shard["topics"], shard["log"]["spaceExhausted"]), ("shard-0", server.endpoint, 1, False), "shard")
    same(sorted(service["role"] for service in status["services"]), ["offset", "registry"], "services")
    text = server.ctl("cluster", "status")
    check("shard-0" in text and "serving" in text, text)


@case("exit codes: no answer 5, wrong usage 2, also with JSON")
def _(context):
    ctl = str(context.bin / "fulmarctl")

    def code(*arguments):
        return subprocess.run([ctl, *arguments], capture_output=True, text=True, timeout=30, check=False)

    gone = code("--endpoint", "127.0.0.1:1", "--timeout", "2s", "topic", "list")
    check(gone.returncode == NO_ANSWER and "127.0.0.1:1" in gone.stderr and not gone.stdout, gone)
    same(code("--endpoint", "127.0.0.1:1", "--timeout", "2s", "-o", "json", "send", "t", "x").returncode, NO_ANSWER, "send")
    for wrong in ([], ["nothing"], ["topic"], ["topic", "nothing"], ["--output", "xml", "topic", "list"], ["--timeout", "soon", "topic", "list"]):
        same(code(*wrong).returncode, USAGE, wrong)
    for helped in (["--help"], ["topic", "--help"], ["topic", "create", "--help"], ["group", "reset-offset", "--help"], ["send", "--help"], ["receive", "--help"], ["--version"]):
        same(code(*helped).returncode, 0, helped)
    check("Exit codes" in code("--help").stdout, "the codes stand in the help")


@case("FULMAR_ENDPOINT is the default endpoint, and --tls with --insecure-skip-verify or --ca talks TLS")
def _(context):
    import os
    server = context.server()
    done = subprocess.run([str(context.bin / "fulmarctl"), "topic", "list"], env={**os.environ, "FULMAR_ENDPOINT": server.endpoint}, capture_output=True, text=True,
                          timeout=30, check=False)
    same(done.returncode, 0, done.stderr)
    server.ctl("--tls", "--insecure-skip-verify", "send", "t", "over TLS")
    server.ctl("--tls", "--ca", server.data / "tls" / "tls.crt", "topic", "list")
    server.ctl("--tls", "--timeout", "2s", "topic", "list", status=NO_ANSWER)
    same(server.json("receive", "t", "--group", "g")[0]["body"], "over TLS", "body")


@case("completion scripts are valid and offer the commands")
def _(context):
    ctl = str(context.bin / "fulmarctl")
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([ctl, "completion", shell], capture_output=True, text=True, timeout=30, check=True).stdout
        check("reset-offset" in script, shell)
        if shell == "bash":
            same(subprocess.run(["bash", "-n"], input=script, text=True, timeout=30, check=False).returncode, 0, "bash -n")
            # As bash does when the tab key is pressed.
            test = script + '\nCOMP_WORDS=(fulmarctl topic de); COMP_CWORD=2; _fulmarctl; echo "${COMPREPLY[*]}"\n'
            offered = subprocess.run(["bash"], input=test, text=True, capture_output=True, timeout=30, check=False).stdout.split()
            same(sorted(offered), ["delete", "describe"], "offered")
    same(subprocess.run([ctl, "completion", "tcsh"], capture_output=True, timeout=30, check=False).returncode, USAGE, "unknown shell")
