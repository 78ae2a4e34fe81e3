"""Starts, kills and restarts the servers under test, on ports that are free right now.

Everything that knows the command line or a configuration key of Fulmar is in this file.
"""
import json
import pathlib
import random
import socket
import subprocess
import threading
import time

import health

START_SECONDS = 30
# Below the range from which the kernel takes the ports of outgoing connections, so that a port
# stays ours while its server is down between kill and restart.
PORTS = range(10000, 32000)

# The protocol's usual minimum of 10 s would make every redelivery test slow.
MIN_INVISIBLE = "1s"
# How long a message delivered with auto_renew is invisible before the server has to renew it.
AUTO_RENEW_SECONDS = 10


class Ports:
    """Hands out each port once per run."""

    def __init__(self):
        self._lock = threading.Lock()
        self._taken = set()

    def free(self):
        with self._lock:
            while True:
                port = random.choice(PORTS)
                if port in self._taken:
                    continue
                self._taken.add(port)
                with socket.socket() as probe:
                    try:
                        probe.bind(("127.0.0.1", port))
                        return port
                    except OSError:
                        continue


class Process:
    """One server process; kill() and start() again use the same ports and data."""

    def __init__(self, name, command, log, health_port):
        self.name, self.command, self.log, self.health_port = name, command, log, health_port
        self._process = None

    def start(self):
        with open(self.log, "ab") as output:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def is_alive(self):
        return self._process is not None and self._process.poll() is None

    def wait_serving(self, deadline):
        try:
            health.wait("127.0.0.1", self.health_port, deadline, self.is_alive)
        except (RuntimeError, TimeoutError) as error:
            raise type(error)(f"{self.name}: {error}, see {self.log}") from None

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, seconds):
        """SIGTERM; the process must end by itself in time, with success."""
        self._process.terminate()
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not end within {seconds} s of SIGTERM, see {self.log}") from None
        if status != 0:
            raise RuntimeError(f"{self.name} ended with status {status} after SIGTERM, see {self.log}")


class Cluster:
    """A standalone server, or the three services; `endpoint` is what clients are configured with, `ledger` where the offset service is."""

    def __init__(self, mode, binaries: pathlib.Path, directory: pathlib.Path, ports: Ports):
        self.binaries, self.directory = binaries, directory
        directory.mkdir(parents=True)
        self.processes = standalone(self, ports) if mode == "standalone" else split(self, ports)

    def address(self, port):
        return f"127.0.0.1:{port}"

    def fulmar(self, name, arguments, health_port):
        return Process(name, [str(self.binaries / "fulmar"), name, *map(str, arguments)],
                       self.directory / f"{name}.log", health_port)

    def start(self, processes=None):
        """Starts these or all; returns the monotonic time at which they reported SERVING."""
        deadline = time.monotonic() + START_SECONDS
        for process in processes or self.processes:
            process.start()
        for process in processes or self.processes:
            process.wait_serving(deadline)
        return time.monotonic()

    def kill(self, processes=None):
        for process in processes or self.processes:
            process.kill()

    def stop(self, seconds):
        """SIGTERM to one process after the other, those first that ask the others; each gets `seconds`."""
        for process in reversed(self.processes):
            process.stop(seconds)

    def check_alive(self):
        for process in self.processes:
            if not process.is_alive():
                raise RuntimeError(f"{process.name} has ended, see {process.log}")

    def control(self, *arguments, endpoint=None):
        """Runs fulmarctl; its standard output, read as JSON where it is."""
        command = [str(self.binaries / "fulmarctl"), "--endpoint", endpoint or self.endpoint, "--output", "json", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout

    def create_topic(self, name, kind="normal", queues=4):
        self.control("topic", "create", name, "--type", kind, "--queues", queues)

    def create_group(self, name, max_attempts=17):
        self.control("group", "create", name, "--order", "concurrent", "--max-attempts", max_attempts,
                     "--from", "earliest")


def write_config(path, values):
    """JSON is YAML."""
    path.write_text(json.dumps(values, indent=2) + "\n")
    return path


SERVER_CONFIG = {"server": {"tls": {"mode": "both"}}}  # as standalone has it by default
# Small segments: several clusters start side by side, and each fills its spare segment with zeros first.
BROKER_CONFIG = {"receive": {"min_invisible_duration": MIN_INVISIBLE, "auto_renew_duration": f"{AUTO_RENEW_SECONDS}s"},
                 "log": {"segment_bytes": "16MiB"}}
OFFSET_CONFIG = {"log": {"segment_bytes": "4MiB"}}


def standalone(cluster, ports):
    port, metrics = ports.free(), ports.free()
    cluster.endpoint = cluster.ledger = cluster.address(port)
    config = write_config(cluster.directory / "fulmar.yaml", {"broker": BROKER_CONFIG, "offset": OFFSET_CONFIG})
    return [cluster.fulmar("standalone", ["--listen", cluster.endpoint, "--metrics", cluster.address(metrics),
                                          "--data", cluster.directory / "data", "--config", config], port)]


def split(cluster, ports):
    """Offset service, broker and registry as processes of their own; clients know the registry only."""
    port = {name: ports.free() for name in ("offset", "broker", "registry")}
    listen = {name: cluster.address(p) for name, p in port.items()}
    cluster.endpoint, cluster.ledger = listen["registry"], listen["offset"]
    configs = {
        "offset": {"offset": OFFSET_CONFIG},
        "broker": SERVER_CONFIG | {"broker": BROKER_CONFIG | {"registries": [listen["registry"]], "offset_endpoint": listen["offset"]}},
        "registry": SERVER_CONFIG | {"registry": {"route_mode": "direct", "offset_endpoint": listen["offset"]}},
    }
    processes = []
    for name, values in configs.items():
        config = write_config(cluster.directory / f"{name}.yaml", values)
        arguments = ["--listen", listen[name], "--metrics", cluster.address(ports.free()),
                     "--data", cluster.directory / name, "--config", config]
        processes.append(cluster.fulmar(name, arguments, port[name]))
    return processes
