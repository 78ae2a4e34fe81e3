"""The command line of `fulmar`: help, configuration, what start-up refuses, how it ends."""
import os
import re
import signal
import socket

from harness import ROOT, Server, case, check, same, until


@case("fulmar --help and the help of every subcommand")
def _(context):
    text = context.fulmar("--help")
    for name in ("standalone", "registry", "broker", "offset", "config", "index"):
        check(name in text, name, "is missing in fulmar --help")
        check("Usage" in context.fulmar(name, "--help"), name)
    for flag in ("--listen", "--metrics", "--data", "--advertise", "--config"):
        check(flag in context.fulmar("standalone", "--help"), flag)
    check("--data" in context.fulmar("index", "rebuild", "--help"), "index rebuild")
    check(re.match(r"\d+\.\d+", context.fulmar("--version")), "version")


@case("a wrong subcommand or flag is wrong usage")
def _(context):
    context.fulmar(status=2)
    context.fulmar("nothing", status=2)
    error = context.fulmar("standalone", "--lisen=127.0.0.1:0", status=2)
    check("lisen" in error, error)


@case("config --describe names every key with its default; docs/configuration.md is what it prints")
def _(context):
    described = context.fulmar("config", "--describe")
    check("| `broker.log.segment_bytes` |" in described and "256MiB" in described, described[:300])
    page = (ROOT / "docs" / "configuration.md").read_text()
    check(page.endswith(described), "docs/configuration.md is out of date: run tests/integration/run --write-docs")


@case("config --describe --yaml is a file that config --check takes and that says the defaults")
def _(context):
    file = context.write("all.yaml", context.fulmar("config", "--describe", "--yaml"))
    same(context.fulmar("config", "--check", "--config", file), context.fulmar("config", "--check"), "the values in force")


@case("unknown keys and bad values are all named at once, each with the nearest known key")
def _(context):
    file = context.write("bad.yaml", "broker:\n  log:\n    segment_byte: 8MiB\n  progress:\n    flush_interval: soon\nsevrer:\n  listen: x\n")
    for arguments in (["config", "--check", "--config", file], ["standalone", "--config", file, "--listen", "127.0.0.1:0"]):
        error = context.fulmar(*arguments, status=2)
        for word in ("broker.log.segment_byte'", "broker.log.segment_bytes", "broker.progress.flush_interval", "soon", "sevrer", "server.listen"):
            check(word in error, word, "is missing in", error)
    error = context.fulmar("config", "--check", "--broker.log.segment_bytes=3KiB", status=2)
    check("broker.log.segment_bytes" in error and "1MiB" in error, "the bounds:", error)
    error = context.fulmar("config", "--check", "--broker.retention.tyme=1h", status=2)
    check("broker.retention.time" in error, error)


@case("a misspelled environment variable is named with the nearest one")
def _(context):
    error = context.fulmar("config", "--check", status=2, environment={"FULMAR_BROKER_LOG_SEGMENT_BYTE": "8MiB"})
    check("FULMAR_BROKER_LOG_SEGMENT_BYTE" in error and "FULMAR_BROKER_LOG_SEGMENT_BYTES" in error, error)


@case("a file gives way to the environment, and that to a flag")
def _(context):
    file = context.write("one.yaml", "broker:\n  log:\n    segment_bytes: 16MiB\n")

    def in_force(*flags, **environment):
        text = context.fulmar("config", "--check", "--config", file, *flags, environment=environment)
        return re.search(r"segment_bytes: (\S+)", text[text.index("broker:"):])[1]

    same(in_force(), "16MiB", "file")
    same(in_force(FULMAR_BROKER_LOG_SEGMENT_BYTES="32MiB"), "32MiB", "environment")
    same(in_force("--broker.log.segment_bytes=64MiB", FULMAR_BROKER_LOG_SEGMENT_BYTES="32MiB"), "64MiB", "flag")
    same(in_force("--broker.log.segment_bytes", "64MiB"), "64MiB", "flag and value apart")


@case("a file that is missing or no YAML is wrong usage that names it")
def _(context):
    check("gone.yaml" in context.fulmar("config", "--check", "--config", "gone.yaml", status=2), "missing")
    file = context.write("broken.yaml", "broker: [1\n")
    check("broken.yaml" in context.fulmar("config", "--check", "--config", file, status=2), "broken")


@case("a busy port ends the start with one sentence")
def _(context):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        error = context.fulmar("standalone", "--listen", address, "--metrics", "", "--data", "d1", status=1)
        check(address in error and "in use" in error, error)
        error = context.fulmar("standalone", "--listen", "127.0.0.1:0", "--metrics", address, "--data", "d2", status=1)
        check(address in error and "--metrics" in error, error)


@case("an unwritable data folder ends the start with one sentence")
def _(context):
    context.write("file", "")
    error = context.fulmar("standalone", "--listen", "127.0.0.1:0", "--metrics", "", "--data", "file/data", status=1)
    check("file/data" in error, error)
    if os.geteuid() != 0:
        (context.dir / "closed").mkdir(mode=0o500)
        check("closed" in context.fulmar("standalone", "--listen", "127.0.0.1:0", "--metrics", "", "--data", "closed/data", status=1), "closed")
    error = context.fulmar("standalone", "--listen", "127.0.0.1:0", "--metrics", "", "--data", "/proc/fulmar", status=1)
    check("/proc/fulmar" in error, error)


@case("a second server on the same data is refused, and the first goes on")
def _(context):
    first = context.server()
    first.ctl("send", "t", "before")
    error = context.fulmar("standalone", "--listen", "127.0.0.1:0", "--metrics", "", "--data", first.data, status=1)
    check("LOCK" in error or "in use" in error or "another process" in error, error)
    first.ctl("send", "t", "after")
    same(len(first.json("receive", "t", "--group", "g", "--max", 2, "--ack")), 2, "messages")


@case("SIGTERM and SIGINT end every role with status 0, and nothing acknowledged is lost")
def _(context):
    server = context.server()
    for sign in (signal.SIGTERM, signal.SIGINT):
        server.ctl("send", "t", f"before {sign.name}")
        same(server.stop(sign), 0, sign.name)
        server.start()
    same(len(server.json("receive", "t", "--group", "g", "--max", 2, "--ack")), 2, "messages")
    offset = context.server(role="offset")
    registry = context.server("--registry.offset_endpoint=" + offset.endpoint, role="registry")
    broker = context.server("--broker.offset_endpoint=" + offset.endpoint, "--broker.registries=" + registry.endpoint, role="broker")
    for role in (broker, registry, offset):
        same(role.stop(), 0, role.role)


@case("the services as separate processes find each other and serve fulmarctl at the registry")
def _(context):
    offset = context.server(role="offset")
    registry = context.server("--registry.offset_endpoint=" + offset.endpoint, role="registry")
    broker = context.server("--broker.offset_endpoint=" + offset.endpoint, "--broker.registries=" + registry.endpoint, role="broker")
    until(lambda: registry.json("cluster", "status")["shards"], 10, "the broker has announced itself")
    registry.ctl("topic", "create", "t", "--queues", 2)
    sent = registry.json("send", "t", "hello", "--tag", "a")
    same([m["messageId"] for m in registry.json("receive", "t", "--group", "g", "--ack")], [sent["messageId"]], "received")
    described = registry.json("topic", "describe", "t")
    same(sum(queue["messages"] for queue in described["queueStates"]), 1, "messages")
    until(lambda: registry.json("group", "describe", "g")["lag"] == 0, 5, "no lag")
    status = registry.json("cluster", "status")
    check(status["healthy"], status)
    same(status["shards"][0]["endpoint"], broker.endpoint, "endpoint")
    same(broker.json("topic", "list"), registry.json("topic", "list"), "the broker's own admin service")
    same(broker.stop(), 0, "status")
    check("t" in registry.ctl("send", "t", "nobody is there", status=5), "without a broker the registry says so")
    same(registry.json("cluster", "status")["healthy"], False, "healthy")
    broker.start()
    until(lambda: registry.run_ctl("send", "t", "again").returncode == 0, 15, "a broker that comes back is used again")


@case("the log level changes at run time by fulmarctl, and by SIGHUP to what the file says")
def _(context):
    file = context.write("server.yaml", "logging:\n  level: info\n")
    server = context.server("--config", str(file))
    same(server.json("log-level", "debug"), {"level": "debug", "previous": "info"}, "answer")
    check("log level error (was debug)" in server.ctl("log-level", "error"), "text")
    server.ctl("log-level", "info")

    def changes():
        return [event["to"] for event in server.events() if event["event"] == "log_level_changed"]

    until(lambda: "info" in changes(), 10, "the change is logged")
    same(changes(), ["debug", "info"], "at error, lines of level info are not written, not even that of the change")
    server.ctl("log-level", "loud", status=2)
    file.write_text("logging:\n  level: debug\n")
    before = len(list(server.events()))
    server.process.send_signal(signal.SIGHUP)
    until(lambda: any(event["event"] == "configuration_read_again" for event in list(server.events())[before:]), 10, "the file is read again")
    same(server.json("log-level", "info")["previous"], "debug", "level of the file")
    file.write_text("logging:\n  level: loud\n")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: any(event["event"] == "configuration_kept" for event in server.events()), 10, "a bad file is refused")
    same(server.json("log-level", "info")["previous"], "info", "level is kept")


@case("log lines are JSON objects with time, level and event, or text when asked for")
def _(context):
    server = context.server()
    lines = [line for line in server.text().splitlines() if line]
    same(len(list(server.events())), len(lines), "lines that are JSON")
    for event in server.events():
        check({"time", "level", "event"} <= event.keys(), event)
    server.stop()
    plain = Server(context, "--logging.format=text").launch()
    until(lambda: "serving" in plain.text(), 30, "text lines")
    check("{" not in plain.text().splitlines()[-1], plain.text())
    same(plain.stop(), 0, "status")


@case("a given certificate is served; without its key, or with another's, the start is refused by name")
def _(context):
    first = context.server()
    first.stop()
    certificate, key = first.data / "tls" / "tls.crt", first.data / "tls" / "tls.key"
    server = context.server(f"--server.tls.certificate={certificate}", f"--server.tls.key={key}", "--server.tls.mode=only")
    server.ctl("--tls", "--ca", certificate, "topic", "list")
    check(not (server.data / "tls").exists(), "nothing is made up when a certificate is given")
    start = ["standalone", "--listen", "127.0.0.1:0", "--metrics", "", "--data", "other"]
    check("server.tls.key" in context.fulmar(*start, f"--server.tls.certificate={certificate}", status=1), "without key")
    error = context.fulmar(*start, f"--server.tls.certificate={certificate}", "--server.tls.key=gone.key", status=1)
    check("gone.key" in error, error)
    second = context.server()
    error = context.fulmar(*start, f"--server.tls.certificate={certificate}", f"--server.tls.key={second.data}/tls/tls.key", status=1)
    check(str(certificate) in error or "tls.key" in error, error)
