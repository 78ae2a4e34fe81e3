"""Builds what the chosen parts need, runs them, and adds up. Called by tools/test; the contract is in README.md beside this file."""
import argparse
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAST_LINE = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?")


@dataclasses.dataclass
class Part:
    name: str
    what: str
    needs: list[str]  # parts of tools/install-deps whose failure fails this part
    wants: list[str]  # parts of tools/install-deps whose failure only skips something in it
    builds: list[tuple[str, list[str]]]  # (preset, targets)
    limit_seconds: int  # of the short form


SERVER = ("release", ["fulmar", "fulmarctl", "fulmar-bench"])

# The order in which they run: what is cheap and likely to fail comes first.
PARTS = [
    Part("checks", "layers, protocol tables", ["build"], [], [], 60),
    Part("unit", "tests beside the code, ASan + UBSan", ["build"], [], [("dev", ["fulmar_unit_tests"])], 1200),
    Part("integration", "a running server, from outside", ["build"], ["grpcurl"], [("release", SERVER[1] + ["fulmar_integration_tests"])], 600),
    Part("interop", "official clients", ["build"], ["java", "go", "node", "python"], [SERVER], 1200),
    Part("torture", "kill -9 under load", ["build"], [], [("release", SERVER[1] + ["fulmar-torture", "fulmar_powerloss"])], 900),
    Part("fuzz", "every fuzz target, briefly", ["build", "fuzz"], [], [("fuzz", ["fulmar_fuzzers"])], 600),
    Part("sanitizers", "thread roles by clang, core under TSan, server under ASan", ["build", "fuzz"], ["grpcurl"],
         [("fuzz", ["fulmar_libraries"]), ("tsan", ["fulmar_core_tests"]), ("dev", ["fulmar", "fulmarctl", "fulmar_integration_tests"])], 1500),
]
LONG_LIMIT_SECONDS = 6 * 3600


@dataclasses.dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)  # the FAIL and SKIP lines


def failed(sentence):
    print(f"FAIL {sentence}", flush=True)
    return Outcome(failed=1, notes=[f"FAIL {sentence}"])


class Preparation:
    """Installs and builds, each thing once."""

    def __init__(self):
        self.done = {}

    def once(self, *command):
        if command not in self.done:
            self.done[command] = subprocess.run(command, cwd=ROOT).returncode == 0
        return self.done[command]

    def of(self, part):
        """Returns what could not be had, or None."""
        for need in part.needs:
            if not self.once("tools/install-deps", need):
                return f"tools/install-deps {need}"
        for want in part.wants:
            self.once("tools/install-deps", want)
        for preset, targets in part.builds:
            if not self.once("tools/build", preset, *targets):
                return f"tools/build {preset} {' '.join(targets)}"
        return None


def run(part, long):
    script = ROOT / "tests" / part.name / "run"
    if not script.exists():
        return failed(f"{part.name}: tests/{part.name}/run does not exist")
    command = [script, "--bin", ROOT / "build" / "release" / "bin", *(["--long"] if long else [])]
    environment = {**os.environ, "PATH": f"{ROOT}/build/tools/bin:{os.environ['PATH']}"}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               env=environment, start_new_session=True)
    limit = LONG_LIMIT_SECONDS if long else part.limit_seconds
    timer = threading.Timer(limit, lambda: os.killpg(process.pid, signal.SIGKILL))
    timer.start()
    notes, last = [], ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
        if re.match(r"(FAIL|SKIP)\b", line):
            notes.append(re.sub(r"^(FAIL|SKIP) ", rf"\1 {part.name}: ", line.strip()))
    status = process.wait()
    timed_out = not timer.is_alive()
    timer.cancel()
    totals = LAST_LINE.fullmatch(last)
    if not totals:
        reason = f"no result within {limit} s" if timed_out else f"it ended with status {status} and without a result line"
        outcome = failed(f"{part.name}: {reason}")
        return dataclasses.replace(outcome, notes=notes + outcome.notes)
    outcome = Outcome(int(totals[1]), int(totals[2]), int(totals[3] or 0), notes)
    if status != 0 and outcome.failed == 0:
        outcome.failed = 1
        outcome.notes.append(f"FAIL {part.name}: it ended with status {status} although nothing failed")
    return outcome


def arguments():
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="tools/test", description="Installs what is missing, builds, and runs the tests.",
                                     epilog="parts: " + "; ".join(f"{part.name} ({part.what})" for part in PARTS))
    parser.add_argument("parts", nargs="*", metavar="PART", help="without any: all")
    parser.add_argument("--long", action="store_true", help="the long form of each part")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in names]
    if unknown:
        parser.error(f"no part is called {unknown[0]!r}; there are {', '.join(names)}")
    return options


def main():
    options = arguments()
    chosen = [part for part in PARTS if not options.parts or part.name in options.parts]
    preparation, total, table = Preparation(), Outcome(), []
    for part in chosen:
        print(f"== {part.name}: {part.what}", flush=True)
        started = time.monotonic()
        problem = preparation.of(part)
        prepared = time.monotonic()
        outcome = failed(f"{part.name}: {problem} failed") if problem else run(part, options.long)
        table.append(f"{part.name:12} {outcome.passed:6} passed {outcome.failed:4} failed {outcome.skipped:4} skipped"
                     f"   {time.monotonic() - prepared:5.0f} s, after {prepared - started:.0f} s to install and build")
        total = Outcome(total.passed + outcome.passed, total.failed + outcome.failed, total.skipped + outcome.skipped,
                        total.notes + outcome.notes)
    print("\n" + "\n".join(table + total.notes))
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
