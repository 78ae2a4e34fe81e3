"""Servers on free ports, fulmarctl, and the cases that the other files register."""
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOGS = ROOT / "build" / "logs" / "integration"
START_SECONDS = 60
SMALL_SEGMENTS = ["--broker.log.segment_bytes=8MiB", "--offset.log.segment_bytes=4MiB"]


class Skip(Exception):
    """What the case needs is not there; says what."""


@dataclasses.dataclass
class Case:
    name: str
    function: object


CASES = []


def case(name):
    """Registers a function as a test; `name` is the sentence that holds."""
    def register(function):
        CASES.append(Case(name, function))
        return function
    return register


def check(holds, *what):
    if not holds:
        raise AssertionError(" ".join(str(part) for part in what))


def same(actual, wanted, what=""):
    check(actual == wanted, f"{what}: got {actual!r}, wanted {wanted!r}")


def until(condition, seconds, what):
    """Waits for a condition that nothing announces; returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Server:
    """A `fulmar` role on free ports; stop() and kill() leave the data, start() goes on with it."""

    def __init__(self, context, *flags, role="standalone", data=None, environment=None, endpoint="127.0.0.1:0"):
        self.context, self.flags, self.role, self.environment, self.listen = context, list(flags), role, environment or {}, endpoint
        self.number = context.next_number()
        self.data = data or context.dir / f"data-{self.number}"
        self.log = context.dir / f"server-{self.number}.log"
        self.process = self.endpoint = self.metrics = None
        context.servers.append(self)

    def command(self):
        return [str(self.context.bin / "fulmar"), self.role, "--listen", self.listen, "--metrics", "127.0.0.1:0", "--data", str(self.data), *self.flags]

    def launch(self):
        """Starts the process without waiting for anything."""
        self.offset = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            env={**os.environ, **self.environment}, cwd=self.context.dir)
        return self

    def start(self):
        self.launch()
        until(self._serving, START_SECONDS, f"{self.role} serves; {self.log}")
        return self

    def _serving(self):
        check(self.process.poll() is None, f"{self.role} ended with status {self.process.poll()} at its start:\n{self.text()[-2000:]}")
        for event in self.events():
            if event["event"] == "listening":
                self.endpoint = event["address"]
                self.metrics = f"127.0.0.1:{event['metrics_port']}"
        return any(event["event"] == "serving" for event in self.events())

    def text(self):
        """What it logged since its last start."""
        return self.log.read_bytes()[self.offset:].decode(errors="replace") if self.log.exists() else ""

    def events(self):
        for line in self.text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def wait_end(self, seconds=30):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not end within {seconds} s; {self.log}") from None

    def stop(self, sign=signal.SIGTERM):
        self.process.send_signal(sign)
        status = self.wait_end()
        return status

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ctl(self, *arguments, status=0, stdin="", json_output=False):
        """fulmarctl; its standard output, or with json_output what it says, one value per line."""
        done = self.run_ctl(*(["--output", "json"] if json_output else []), *arguments, stdin=stdin)
        check(done.returncode == status, f"fulmarctl {' '.join(map(str, arguments))[:200]}: exit {done.returncode}, wanted {status}: {done.stderr.strip()[:500]}")
        if not json_output:
            return done.stdout if status == 0 else done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()] if arguments[0] == "receive" else json.loads(done.stdout)

    def json(self, *arguments, **options):
        return self.ctl(*arguments, json_output=True, **options)

    def run_ctl(self, *arguments, stdin=""):
        return subprocess.run([str(self.context.bin / "fulmarctl"), "--endpoint", self.endpoint, *map(str, arguments)], text=not isinstance(stdin, bytes),
                              input=stdin, capture_output=True, timeout=60, check=False)

    def http(self, path):
        """Status and text of a page of the metrics port."""
        try:
            with urllib.request.urlopen(f"http://{self.metrics}{path}", timeout=10) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, start):
        """Sum of all series whose line begins so."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.http("/metrics")[1].splitlines() if line.startswith(start))


class Context:
    """What one case works with; its folder goes with it unless it fails."""

    def __init__(self, name, binaries):
        self.name, self.bin = name, binaries
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fulmar-integration-"))
        self.servers = []
        self._number = 0

    def next_number(self):
        self._number += 1
        return self._number

    def server(self, *flags, **options):
        return Server(self, *SMALL_SEGMENTS, *flags, **options).start()

    def fulmar(self, *arguments, status=0, environment=None, seconds=30):
        """Runs `fulmar` to its end; standard output, or standard error when a failure is wanted."""
        done = subprocess.run([str(self.bin / "fulmar"), *map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False,
                              env={**os.environ, **(environment or {})}, cwd=self.dir, stdin=subprocess.DEVNULL)
        check(done.returncode == status, f"fulmar {' '.join(map(str, arguments))}: exit {done.returncode}, wanted {status}: {(done.stderr + done.stdout).strip()[:1000]}")
        return done.stdout if status == 0 else done.stderr

    def write(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path

    def close(self, keep):
        for server in self.servers:
            server.close()
        if keep:
            kept = LOGS / "".join(c if c.isalnum() else "-" for c in self.name)[:80]
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            for log in self.dir.glob("*.log"):
                shutil.copy(log, kept)
        shutil.rmtree(self.dir, ignore_errors=True)


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._lock = threading.Lock()

    def line(self, word, name, rest="", count=1):
        with self._lock:
            self.passed += count * (word == "PASS")
            self.failed += count * (word == "FAIL")
            self.skipped += count * (word == "SKIP")
            print(f"{word} {name}{': ' if rest else ''}{rest}", flush=True)


def run_case(one, binaries, result):
    context = Context(one.name, binaries)
    started = time.monotonic()
    failed = False
    try:
        one.function(context)
        for server in context.servers:  # a server that a case started and did not end is still well
            if server.process and server.process.poll() not in (None, 0, -signal.SIGKILL, -signal.SIGTERM):
                check(getattr(server, "may_fail", False), f"a server ended with status {server.process.poll()}: {server.text()[-1000:]}")
        result.line("PASS", one.name, f"{time.monotonic() - started:.1f} s")
    except Skip as reason:
        result.line("SKIP", one.name, str(reason))
    except Exception as error:  # pylint: disable=broad-except
        failed = True
        where = traceback.extract_tb(error.__traceback__)
        place = [f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in where if f.filename != __file__]
        result.line("FAIL", one.name, f"{type(error).__name__}: {error} ({', '.join(place)})")
    finally:
        context.close(failed)
