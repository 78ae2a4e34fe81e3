"""A `fulmar standalone` that is killed and started again on the same data and ports."""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop" / "harness"))
import health  # noqa: E402

START_SECONDS = 30
PORTS = range(10000, 32000)  # below those that the kernel gives to outgoing connections


def free_port():
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class ServerEnded(Exception):
    pass


class Server:
    def __init__(self, binaries, directory, config, environment=None):
        self.binaries, self.directory = binaries, directory
        self.port, self.metrics = free_port(), free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.log = directory / "server.log"
        self.environment = {**os.environ, **(environment or {})}
        config_file = directory / "fulmar.yaml"
        config_file.write_text(json.dumps(config, indent=2) + "\n")  # JSON is YAML
        self.command = [str(binaries / "fulmar"), "standalone", "--listen", self.endpoint, "--metrics", f"127.0.0.1:{self.metrics}",
                        "--data", str(directory / "data"), "--config", str(config_file)]
        self.process = None
        self.events = []  # of the checker

    def start(self):
        self.events.append({"e": "start", "t": time.monotonic_ns()})
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait_serving(self):
        started = time.monotonic()
        try:
            health.wait("127.0.0.1", self.port, started + START_SECONDS, self.alive)
        except (RuntimeError, TimeoutError) as error:
            raise ServerEnded(f"{error}; the end of {self.log}:\n{self.log_end()}") from None
        return time.monotonic() - started

    def log_end(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def kill(self):
        if not self.alive():
            raise ServerEnded(f"the server ended by itself with status {self.process.returncode}; the end of {self.log}:\n{self.log_end()}")
        self.events.append({"e": "kill", "t": time.monotonic_ns()})
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def control(self, *arguments):
        """fulmarctl's answer, read as JSON where it is."""
        command = [str(self.binaries / "fulmarctl"), "--endpoint", self.endpoint, "--output", "json", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"fulmarctl {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()] if arguments[0] == "receive" else done.stdout
