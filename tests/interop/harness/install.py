"""Installs the four official clients and compiles their agents into build/interop/.

Each language is independent: what fails becomes a reason to skip it by name. A second run
finds its stamp (the hash of everything that went into the installation) and does nothing.
"""
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Callable

AGENTS = pathlib.Path(__file__).resolve().parent.parent / "agents"
JAVA_CLIENT = "rocketmq-client-java-"
# The Go client's module asks for 1.24; an older Go fetches this one, see go_command().
GO_WANTED = (1, 24)
GO_TOOLCHAIN = "go1.24.9"
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
STEP_SECONDS = 600


class Unavailable(Exception):
    """The language cannot be tested here; the text says why."""


@dataclasses.dataclass
class Language:
    name: str
    command: list[str]  # starts the agent
    environment: dict[str, str]
    snippet: str        # file in docs/snippets
    run_file: list[str]  # runs a program in the language
    directory: pathlib.Path | None = None  # where run_file must be called


def need(*programs):
    for program in programs:
        path = shutil.which(program)
        if path:
            return path
    raise Unavailable(f"{programs[0]} is not installed")


def step(log, command, cwd=None, env=None):
    with open(log, "ab") as output:
        output.write(f"$ {' '.join(map(str, command))}\n".encode())
        output.flush()
        try:
            code = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                  stdout=output, stderr=subprocess.STDOUT, timeout=STEP_SECONDS, check=False).returncode
        except subprocess.TimeoutExpired:
            code = f"no end after {STEP_SECONDS} s"
    if code != 0:
        raise Unavailable(f"'{command[0]} {command[1]}' failed ({code}), see {log}")


def fingerprint(source, *more):
    digest = hashlib.sha256("\0".join(more).encode())
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def version_of(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def install_java(source, target, log, is_fresh):
    java, javac, mvn = need("java"), need("javac"), need("mvn")
    jars, classes = target / "lib", target / "classes"
    if not is_fresh:
        step(log, [mvn, "-B", "-q", "-f", source / "pom.xml", MAVEN_COPY, f"-DoutputDirectory={jars}"])
        classes.mkdir(exist_ok=True)
        step(log, [javac, "-d", classes, "-cp", f"{jars}/*", source / "src" / "Agent.java"])
    jar = next(jars.glob(JAVA_CLIENT + "*.jar")).stem
    # C1 only and a small heap: four agents share the machine with the servers, and none of them computes.
    return Language("java", [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-Duser.home={home}",
                             f"-Dinterop.client_version={jar.removeprefix(JAVA_CLIENT)}",
                             "-cp", f"{classes}:{jars}/*", "Agent"], {},
                    "Hello.java", [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.home={home}", "-cp", f"{jars}/*"])


def go_command(target, log):
    """A Go that is new enough, and the environment for it.

    Go 1.21 and later fetch a newer toolchain by themselves. Debian 12 carries 1.19, which knows
    nothing of that, but can download the same toolchain as the module it is published as; the
    module cache drops the executable bits, which are set again on a copy.
    """
    go = need("go")
    match = re.search(r"go version go(\d+)\.(\d+)", version_of([go, "version"]))
    if not match:
        raise Unavailable("'go version' says nothing usable")
    version = (int(match[1]), int(match[2]))
    if version >= GO_WANTED:
        return go, {"GOTOOLCHAIN": "local"}
    if version >= (1, 21):
        return go, {"GOTOOLCHAIN": f"{GO_TOOLCHAIN}+auto"}
    arch = version_of([go, "env", "GOARCH"]).strip()
    root = target / f"toolchain-{GO_TOOLCHAIN}"
    if not root.exists():
        module = f"golang.org/toolchain@v0.0.1-{GO_TOOLCHAIN}.linux-{arch}"
        step(log, [go, "mod", "download", module], cwd=target)
        cache = pathlib.Path(version_of([go, "env", "GOMODCACHE"]).strip()) / module
        partial = root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        step(log, ["cp", "-r", cache, partial])
        step(log, ["chmod", "-R", "u+w", partial])
        for tools in [partial / "bin", *(partial / "pkg" / "tool").iterdir()]:
            for program in tools.iterdir():
                program.chmod(0o755)
        partial.rename(root)
    return root / "bin" / "go", {"GOTOOLCHAIN": "local", "GOROOT": str(root)}


def install_go(source, target, log, is_fresh):
    agent = target / "agent"
    go, env = go_command(target, log)
    if not is_fresh:
        step(log, [go, "build", "-mod=readonly", "-trimpath", "-o", agent, "."], cwd=source, env=env)
    # Its caches, when the home directory is another one.
    env |= {name: version_of([go, "env", name]).strip() for name in ("GOPATH", "GOCACHE")}
    return Language("go", [str(agent)], env, "hello.go", [str(go), "run", "-mod=readonly"], source)


def install_node(source, target, log, is_fresh):
    node, npm = need("node", "nodejs"), need("npm")
    if not is_fresh:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, target / name)
        step(log, [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved=true"],
             cwd=target)
    return Language("node", [node, str(source / "agent.js")],
                    {"INTEROP_NODE_MODULES": str(target / "node_modules"), "NODE_PATH": str(target / "node_modules")}, "hello.js", [node])


def install_python(source, target, log, is_fresh):
    venv = target / "venv"
    if not is_fresh:
        step(log, [sys.executable, "-m", "venv", "--clear", venv])
        step(log, [venv / "bin" / "pip", "install", "--no-deps", "--disable-pip-version-check",
                   "-r", source / "requirements.txt"])
    return Language("python", [str(venv / "bin" / "python"), str(source / "agent.py")], {},
                    "hello.py", [str(venv / "bin" / "python")])


INSTALLERS: dict[str, Callable] = {
    "java": install_java, "go": install_go, "node": install_node, "python": install_python}


def install(name, build, logs):
    """One language; raises Unavailable."""
    source, target = AGENTS / name, build / name
    target.mkdir(parents=True, exist_ok=True)
    log = logs / f"install-{name}.log"
    stamp = target / "installed"
    # The interpreter of the virtual environment and the node that ran npm are part of what was installed.
    inputs = fingerprint(source, pathlib.Path(__file__).read_text(), sys.version, shutil.which("node") or "")
    is_fresh = stamp.exists() and stamp.read_text() == inputs
    if not is_fresh:
        stamp.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
    language = INSTALLERS[name](source, target, log, is_fresh)
    stamp.write_text(inputs)
    return language


def install_all(names, build, logs):
    """Returns the languages that can be tested, and for the others the reason."""
    ready, missing = {}, {}
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        jobs = {name: pool.submit(install, name, build, logs) for name in names}
    for name, job in jobs.items():
        try:
            ready[name] = job.result()
        except Unavailable as reason:
            missing[name] = str(reason)
    return ready, missing
