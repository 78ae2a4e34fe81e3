"""Runs the test executables of a build directory through ctest and counts single test cases."""
import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]

SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    # The libraries themselves are not instrumented: what they do with memory is not judged (cmake/tsan_absl.cc).
    "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:second_deadlock_stack=1",
}


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self, word, name, rest=""):
        print(f"{word} {name} {rest}".rstrip(), flush=True)
        if word == "PASS":
            self.passed += 1
        elif word == "FAIL":
            self.failed += 1
        else:
            self.skipped += 1

    def finish(self):
        """Prints the last line and returns the exit status."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed else 0


def run(result, preset, label, prefix=""):
    """Runs what carries the label in build/<preset>. Google Test's own reports give the single cases."""
    build = ROOT / "build" / preset
    reports = build / "reports" / label
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    junit = reports / "ctest.xml"
    listed = json.loads(subprocess.run(["ctest", "--test-dir", build, "-L", f"^{label}$", "--show-only=json-v1"],
                                       capture_output=True, text=True, check=True).stdout)
    names = [test["name"] for test in listed["tests"]]
    if not names:
        result.line("FAIL", f"{prefix}{label}", f"no test in build/{preset} carries this label")
        return
    done = subprocess.run(
        ["ctest", "--test-dir", build, "-L", f"^{label}$", "--output-on-failure", "--parallel", str(os.cpu_count()),
         "--output-junit", junit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env={**SANITIZER_OPTIONS, **os.environ, "GTEST_OUTPUT": f"json:{reports}/"})
    if done.returncode != 0:
        print(done.stdout, flush=True)
    failed_programs = failed_of(junit)
    for name in names:
        count(result, prefix + name, reports / f"{name}.json", name in failed_programs)


def failed_of(junit):
    import xml.etree.ElementTree as xml
    return {case.get("name") for case in xml.parse(junit).iter("testcase") if case.get("status") != "run"}


def count(result, name, report, program_failed):
    failures = 0
    if report.exists():
        for suite in json.loads(report.read_text())["testsuites"]:
            for case in suite["testsuite"]:
                if case["status"] != "RUN":
                    continue
                full = f"{name}: {suite['name']}.{case['name']}"
                if case.get("failures"):
                    failures += 1
                    result.line("FAIL", full, f"({case['time']})")
                elif case["result"] == "SKIPPED":
                    result.line("SKIP", full)
                else:
                    result.passed += 1
    elif not program_failed:
        result.passed += 1  # a test that is not written with Google Test
    # A crash, a leak or a race outside of any case fails the program as a whole.
    if program_failed and failures == 0:
        result.line("FAIL", name, "(the program failed; its output is above)")
