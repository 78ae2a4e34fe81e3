#!/usr/bin/env python3
"""Compares protos/apache/rocketmq/v2 with the tables of facts.md, fact by fact, in both directions.

    tests/protocol/check_facts.py              compare
    tests/protocol/check_facts.py --self-test  show that each kind of difference is found

Needs protoc and nothing else: the descriptors are read from protoc's own text form.
"""
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "protos"
FACTS = HERE / "facts.md"
PACKAGE = "apache.rocketmq.v2"
FOLDER = "apache/rocketmq/v2"

# A fact is a tuple: (file, kind, ...). Two sets of them are compared.


# ---- facts from the tables ----

def facts_of_tables(text):
    facts = set()
    for name, body in zip(*[iter(re.split(r"^## File `(.+)`$", text, flags=re.M)[1:])] * 2):
        head = re.search(r"^Syntax: `(.+?)`\. Package: `(.+?)`\. Imports: (.+)\.$", body, re.M)
        imports = tuple(sorted(re.findall(r"`(.+?)`", head[3])))
        facts.add((name, "file", head[1], head[2], imports))
        for option in re.findall(r"`(.+?)`", re.search(r"^Options: (.+)$", body, re.M)[1]):
            facts.add((name, "option", *option.split("=", 1)))
        facts |= {(name, *fact) for fact in rows_of_tables(body)}
    return facts


def rows_of_tables(body):
    kind, service = None, None
    for line in body.splitlines():
        header = re.match(r"\| (Enum|Message|Service)(?: \*\*(\w+)\*\*)?", line)
        if header:
            kind, service = header[1], header[2]
            continue
        if not line.startswith("|") or line.startswith("|-"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        owner = cells[0].strip("*")
        if kind == "Service":
            yield ("rpc", service, owner, cells[1], cells[2], cells[3] == "yes", cells[4] == "yes")
        elif kind == "Enum":
            for value in cells[1].split("; "):
                number, name = re.fullmatch(r"(\d+) `(\w+)`", value).groups()
                yield ("enum value", owner, int(number), name)
        else:
            yield ("message", owner)
            for field in [] if cells[1] == "(no fields)" else cells[1].split("; "):
                number, name, type_, label = re.fullmatch(r"(\d+) `(\w+)` ([\w.]+(?:<[^>]+>)?)(?: \[(.+?)\])?", field).groups()
                yield ("field", owner, int(number), name, type_, label or "")


# ---- facts from the descriptors ----

def facts_of_protos(root):
    files = [f"{FOLDER}/{path.name}" for path in sorted((root / FOLDER).glob("*.proto"))]
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) / "set"
        run(["protoc", "-I", str(root), f"--descriptor_set_out={out}", *files])
        text = run(["protoc", "--decode=google.protobuf.FileDescriptorSet", "google/protobuf/descriptor.proto"], stdin=out.read_bytes())
    facts = set()
    for file in parse_text(text.decode())["file"]:
        facts |= {(one(file, "name"), *fact) for fact in facts_of_file(file)}
    return facts


def facts_of_file(file):
    yield ("file", one(file, "syntax"), one(file, "package"), tuple(sorted(file["dependency"])))
    for options in file["options"]:
        for name, values in options.items():
            yield ("option", name, str(values[0]))
    for enum in file["enum_type"]:
        yield from facts_of_enum(enum, "")
    for message in file["message_type"]:
        yield from facts_of_message(message, "")
    for service in file["service"]:
        for rpc in service["method"]:
            yield ("rpc", one(service, "name"), one(rpc, "name"), local(one(rpc, "input_type")), local(one(rpc, "output_type")),
                   one(rpc, "client_streaming") == "true", one(rpc, "server_streaming") == "true")


def facts_of_enum(enum, outer):
    for value in enum["value"]:
        yield ("enum value", outer + one(enum, "name"), int(one(value, "number")), one(value, "name"))


def facts_of_message(message, outer):
    name = outer + one(message, "name")
    nested = message["nested_type"]
    maps = {f".{PACKAGE}.{name}.{one(n, 'name')}": n for n in nested if n["options"] and one(n["options"][0], "map_entry") == "true"}
    yield ("message", name)
    for field in message["field"]:
        entry = maps.get(one(field, "type_name"))
        type_ = type_of(field) if entry is None else "map<%s, %s>" % tuple(type_of(part) for part in entry["field"])
        yield ("field", name, int(one(field, "number")), one(field, "name"), type_, "" if entry else label_of(field, message))
    for enum in message["enum_type"]:
        yield from facts_of_enum(enum, name + ".")
    for inner in nested:
        if inner not in maps.values():
            yield from facts_of_message(inner, name + ".")


def type_of(field):
    return local(one(field, "type_name")) if field["type_name"] else one(field, "type")[len("TYPE_"):].lower()


def label_of(field, message):
    if one(field, "label") == "LABEL_REPEATED":
        return "rep"
    if one(field, "proto3_optional") == "true":
        return "opt"
    if field["oneof_index"]:
        return "oneof " + one(message["oneof_decl"][int(one(field, "oneof_index"))], "name")
    return ""


def local(type_name):
    return type_name.removeprefix(f".{PACKAGE}.").removeprefix(".")


# ---- protoc and its text form ----

def run(command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr.decode()}")
    return done.stdout


def parse_text(text):
    """Text form as nested dictionaries; every value is a list, since any field may repeat."""
    root = collections.defaultdict(list)
    stack = [root]
    for line in map(str.strip, text.splitlines()):
        if line.endswith("{"):
            block = collections.defaultdict(list)
            stack[-1][line[:-1].strip()].append(block)
            stack.append(block)
        elif line == "}":
            stack.pop()
        elif line:
            name, value = line.split(": ", 1)
            stack[-1][name].append(value.strip('"'))
    return root


def one(block, name):
    return block[name][0] if block[name] else ""


# ---- the two commands ----

def compare(root):
    want, have = facts_of_tables(FACTS.read_text()), facts_of_protos(root)
    for fact in sorted(want - have, key=str):
        print("missing in protos/:", *fact)
    for fact in sorted(have - want, key=str):
        print("not in facts.md:   ", *fact)
    return want, have


# One edit for each kind of fact: (file, what to replace, by what).
EDITS = [
    ("definition", 'java_outer_classname = "MQDomain"', 'java_outer_classname = "Other"'),
    ("definition", "TOPIC_NOT_FOUND = 40402;", "TOPIC_NOT_FOUND = 40409;"),
    ("definition", "ILLEGAL_TOPIC = 40002;", "ILLEGAL_TOPICS = 40002;"),
    ("definition", "optional string tag = 1;", "string tag = 1;"),
    ("definition", "repeated string keys = 2;", "string keys = 2;"),
    ("definition", "map<string, string> user_properties = 2;", "map<string, bytes> user_properties = 2;"),
    ("definition", "ExponentialBackoff exponential_backoff = 2;", "ExponentialBackoff exponential_backoff = 4;"),
    ("definition", "optional int64 queue_offset = 14;", "optional sint64 queue_offset = 14;"),
    ("service", "oneof content {", "oneof contents {"),
    ("service", "returns (stream ReceiveMessageResponse)", "returns (ReceiveMessageResponse)"),
    ("service", "rpc Telemetry(stream TelemetryCommand)", "rpc Telemetry(TelemetryCommand)"),
    ("service", "string message_id = 2;", "string message_ident = 2;"),
    ("service", "message HeartbeatResponse {", "message Extra {}\nmessage HeartbeatResponse {"),
    ("admin", "rpc GetTopicRoute(", "rpc GetTopicRoutes("),
    ("admin", "message GetProxyRuntimeStatsRequest {}", "message GetProxyRuntimeStatsRequest { int32 more = 1; }"),
]


def self_test():
    unseen = []
    for name, old, new in EDITS:
        with tempfile.TemporaryDirectory() as scratch:
            copy = pathlib.Path(scratch) / "protos"
            shutil.copytree(PROTOS / FOLDER, copy / FOLDER)
            path = copy / FOLDER / f"{name}.proto"
            text = path.read_text()
            if old not in text:
                raise SystemExit(f"self-test is out of date: {old!r} is not in {path.name}")
            path.write_text(text.replace(old, new, 1))
            if facts_of_tables(FACTS.read_text()) == facts_of_protos(copy):
                unseen.append(f"{old}  ->  {new}")
    for edit in unseen:
        print("not noticed:", edit)
    print(f"{len(EDITS) - len(unseen)} of {len(EDITS)} planted differences noticed")
    return not unseen


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(0 if self_test() else 1)
    want, have = compare(PROTOS)
    kinds = collections.Counter(fact[1] for fact in have)
    print(", ".join(f"{count} {kind}s" for kind, count in sorted(kinds.items())))
    # A table that could not be read must not pass for one that agrees.
    if want != have or len(want) < 600:
        sys.exit(f"the protocol differs from {FACTS.name}")
    print(f"{len(want)} facts identical")


if __name__ == "__main__":
    main()
