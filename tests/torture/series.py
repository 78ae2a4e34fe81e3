"""One series of rounds: load, kill -9 at a random moment, restart on the same data; in the end everything is consumed and judged."""
import dataclasses
import json
import random
import shutil
import subprocess
import time

import checker
from server import Server, ServerEnded

SYNC_TOPIC, ASYNC_TOPIC, STRICT_GROUP, LOOSE_GROUP = "torture-sync", "torture-async", "torture-strict", "torture-loose"
EARLY_KILL_CHANCE = 0.15  # while it starts
LOAD_SECONDS = (0.3, 2.0)
EARLY_SECONDS = (0.0, 0.4)
DRAIN_SECONDS = 90


@dataclasses.dataclass
class Plan:
    name: str
    rounds: int
    seed: int
    power_loss: bool = True        # unsynced bytes go with the process
    flush_interval_ms: int = 100   # progress.flush_interval
    late_sync_ms: int = 0          # the planted bug
    early_kills: bool = True


@dataclasses.dataclass
class Outcome:
    plan: Plan
    check: checker.Check | None = None
    problem: str = ""              # why there is no verdict
    restarts_ms: list = dataclasses.field(default_factory=list)
    seconds: float = 0

    @property
    def good(self):
        return self.check is not None and not self.check.violations and not self.problem


def config(plan, rng):
    megabytes = rng.choice([1, 2, 4])  # small, so that segments end under fire
    return {"broker": {"log": {"segment_bytes": f"{megabytes}MiB", "cache_bytes": "1MiB"},
                       "receive": {"min_invisible_duration": "1s"},
                       "progress": {"flush_interval": f"{plan.flush_interval_ms}ms"},
                       "index": {"memtable_bytes": "1MiB"}},
            "offset": {"log": {"segment_bytes": "1MiB"}}}


def environment(plan, binaries):
    if not plan.power_loss:
        return {}
    return {"LD_PRELOAD": str(binaries / "libfulmar_powerloss.so"), "FULMAR_POWERLOSS_SEED": str(plan.seed),
            "FULMAR_POWERLOSS_LATE_MS": str(plan.late_sync_ms), "FULMAR_POWERLOSS_LEAK": "0" if plan.late_sync_ms else "0.1"}


def rounds(plan, rng, server, outcome):
    for _ in range(plan.rounds):
        if plan.early_kills and rng.random() < EARLY_KILL_CHANCE:
            time.sleep(rng.uniform(*EARLY_SECONDS))
        else:
            outcome.restarts_ms.append(server.wait_serving() * 1000)
            time.sleep(rng.uniform(*LOAD_SECONDS))
        server.kill()
        time.sleep(rng.uniform(0, 0.1))
        server.start()
    outcome.restarts_ms.append(server.wait_serving() * 1000)


def judge(plan, server, history):
    setting = checker.Setting(
        sync_topics=frozenset({SYNC_TOPIC}), async_topics=frozenset({ASYNC_TOPIC}), strict_groups=frozenset({STRICT_GROUP}),
        groups=frozenset({STRICT_GROUP, LOOSE_GROUP}), power_loss=plan.power_loss, window_ms=plan.flush_interval_ms)
    with open(history, encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    return checker.Check(events, server.events, setting)


def run(plan, binaries, directory):
    rng = random.Random(plan.seed)
    directory.mkdir(parents=True)
    started = time.monotonic()
    outcome = Outcome(plan)
    server = Server(binaries, directory, config(plan, rng), environment(plan, binaries))
    history = directory / "history.jsonl"
    workload = None
    try:
        server.start()
        server.wait_serving()
        for topic, durability in ((SYNC_TOPIC, "sync"), (ASYNC_TOPIC, "async")):
            server.control("topic", "create", topic, "--type", "normal", "--queues", 3, "--durability", durability)
        for group in (STRICT_GROUP, LOOSE_GROUP):
            server.control("group", "create", group, "--order", "concurrent", "--max-attempts", 1000, "--from", "earliest")
        with open(directory / "workload.log", "wb") as log:
            workload = subprocess.Popen(
                [str(binaries / "fulmar-torture"), "workload", server.endpoint, str(history), str(plan.seed), SYNC_TOPIC, ASYNC_TOPIC, STRICT_GROUP, LOOSE_GROUP],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        rounds(plan, rng, server, outcome)
        answer, _ = workload.communicate("drain\n", timeout=DRAIN_SECONDS)
        outcome.check = judge(plan, server, history)
        if not json.loads(answer or '{"drained": false}')["drained"] and not outcome.check.violations and not plan.late_sync_ms:
            outcome.problem = f"not all was consumed in time: {answer.strip()}"
        if not server.alive():
            raise ServerEnded(f"the server ended by itself, see {server.log}")
    except (ServerEnded, RuntimeError, subprocess.TimeoutExpired, OSError) as error:
        outcome.problem = f"{type(error).__name__}: {error}"
    finally:
        if workload is not None and workload.poll() is None:
            workload.kill()
            workload.wait()
        server.close()
        (directory / "server.jsonl").write_text("".join(json.dumps(event) + "\n" for event in server.events))
    outcome.seconds = time.monotonic() - started
    if outcome.good:
        shutil.rmtree(directory)  # a failed one stays to be looked at
    return outcome
