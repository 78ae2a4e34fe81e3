"""The page for Prometheus: what stands on it, that it follows what happens, that its form is right."""
import re
import shutil
import subprocess

from harness import case, check, same, until

# What an operator needs: traffic, latency per RPC, sync, parked, in flight, lag, disk, RocksDB, process.
WANTED = """fulmar_broker_messages_in_total fulmar_broker_bytes_in_total fulmar_broker_messages_out_total fulmar_broker_bytes_out_total
    fulmar_rpc_duration_seconds_bucket fulmar_rpc_requests_total fulmar_log_sync_duration_seconds_bucket fulmar_log_sync_batch_records_bucket
    fulmar_log_sync_batch_bytes_bucket fulmar_broker_parked_receives fulmar_broker_in_flight_messages fulmar_broker_group_lag_messages
    fulmar_log_disk_bytes fulmar_index_disk_bytes fulmar_index_memtable_bytes fulmar_broker_serving fulmar_log_fault fulmar_grpc_connections
    process_resident_memory_bytes process_cpu_seconds_total process_open_fds""".split()


def with_traffic(context, *flags):
    server = context.server(*flags)
    server.ctl("topic", "create", "t", "--queues", 1)
    for _ in range(3):
        server.ctl("send", "t", "x" * 100)
    server.json("receive", "t", "--group", "g", "--max", 1, "--ack")
    server.json("receive", "t", "--group", "g", "--max", 1)
    return server


@case("every series that an operator needs is on the metrics page")
def _(context):
    server = with_traffic(context)
    until(lambda: server.metric("fulmar_broker_in_flight_messages") >= 1, 5, "the gauges are renewed")
    page = server.http("/metrics")[1]
    for name in WANTED:
        check(any(line.startswith((name + "{", name + " ")) for line in page.splitlines()), name, "is missing")
    check('rpc="SendMessage"' in page or 'method="SendMessage"' in page, "latency per RPC")
    same(server.http("/healthz"), (200, "ok\n"), "/healthz")
    same(server.http("/nothing")[0], 404, "unknown page")


@case("metrics follow what happens")
def _(context):
    server = with_traffic(context)
    same(server.metric("fulmar_broker_messages_in_total"), 3.0, "messages in")
    same(server.metric("fulmar_broker_messages_out_total"), 2.0, "messages out")
    check(server.metric("fulmar_broker_bytes_in_total") >= 300, "bytes in")
    same(server.metric("fulmar_broker_acknowledged_total"), 1.0, "acknowledged")
    until(lambda: server.metric('fulmar_broker_group_lag_messages{group="g"') == 2, 5, "lag")
    until(lambda: server.metric("fulmar_broker_in_flight_messages") == 1, 5, "in flight")


@case("the number of series per group and topic has a cap; the rest is counted as other")
def _(context):
    server = context.server("--metrics.max_series=3")
    for i in range(6):
        server.ctl("send", f"t{i}", "x")
        server.json("receive", f"t{i}", "--group", f"g{i}")
    until(lambda: server.metric("fulmar_broker_group_lag_messages") == 6, 5, "the sum is right")
    series = [line for line in server.http("/metrics")[1].splitlines() if line.startswith("fulmar_broker_group_lag_messages{")]
    check(len(series) <= 4 and any("other" in line for line in series), series)


@case("the metrics page has the form that Prometheus reads; promtool agrees where it is installed")
def _(context):
    server = with_traffic(context)
    page = server.http("/metrics")[1]
    typed, seen = {}, set()
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            check(name not in typed, name, "is described twice")
            typed[name] = kind
        elif not line.startswith("#"):
            match = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)', line)
            check(match, "no sample:", line)
            float(match[3])
            check(match[1] + (match[2] or "") not in seen, "twice:", line)
            seen.add(match[1] + (match[2] or ""))
            base = re.sub(r"_(bucket|sum|count)$", "", match[1])
            check(match[1] in typed or typed.get(base) in ("histogram", "summary"), "no TYPE for", line)
            if typed.get(match[1]) == "counter":
                check(match[1].endswith("_total"), "a counter's name ends in _total:", match[1])
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=30, check=False)
        same((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics")
