"""Interop agent for the official Python client: executes the line protocol of
tests/interop/README.md on stdin and stdout."""
import base64
import importlib.metadata
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

from rocketmq.grpc_protocol import FilterType
from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener,
                      Producer, PushConsumer, SimpleConsumer)

out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # Whatever a library prints must not mix with the protocol.
out_lock = threading.Lock()
tls = sys.argv[1:] == ["--tls"]
state_lock = threading.Lock()
clients = {}
holds = {}
views = {}


def write(value):
    with out_lock:
        out.write(json.dumps(value) + "\n")
        out.flush()


def describe(message):
    if message.corrupted:
        raise RuntimeError(f"corrupted message {message.message_id}")
    return {
        "message_id": message.message_id,
        "topic": message.topic,
        "body": base64.b64encode(message.body).decode(),
        "tag": message.tag,
        "keys": sorted(message.keys),
        "properties": dict(message.properties),
        "attempt": message.delivery_attempt,
    }


class Listener(MessageListener):
    def __init__(self, start):
        self.start = start

    def consume(self, message):
        name = self.start["client"]
        write({"event": "delivery", "client": name, "message": describe(message)})
        if self.start.get("hold"):
            holds[name].wait()
        failed = message.delivery_attempt <= self.start.get("fail_attempts", 0)
        return ConsumeResult.FAILURE if failed else ConsumeResult.SUCCESS


def seconds(milliseconds):
    return max(1, (milliseconds + 999) // 1000)  # This client knows whole seconds only.


def start(r):
    configuration = ClientConfiguration(r["endpoint"], Credentials(), "", seconds(r["request_timeout_ms"]))
    subscriptions = {topic: FilterExpression(text, FilterType.SQL if r.get("sql") else FilterType.TAG) for topic, text in r.get("subscriptions", {}).items()}
    if r["kind"] == "producer":
        client = Producer(configuration, r["topics"], tls_enable=tls)
    elif r["kind"] == "simple":
        client = SimpleConsumer(configuration, r["group"], subscriptions, seconds(r["await_ms"]), tls_enable=tls)
    elif r["kind"] == "push":
        holds[r["client"]] = threading.Event()
        client = PushConsumer(configuration, r["group"], Listener(r), subscriptions, tls_enable=tls)
    else:
        raise ValueError(f"unknown kind {r['kind']}")
    client.startup()
    clients[r["client"]] = client


def send(client, r):
    message = Message()
    message.topic = r["topic"]
    message.body = base64.b64decode(r["body"])
    if "tag" in r:
        message.tag = r["tag"]
    for key in r.get("keys", []):
        message.keys = key  # The setter adds one key.
    for name, value in r.get("properties", {}).items():
        message.add_property(name, value)
    return {"message_id": client.send(message).message_id}


def receive(client, r):
    messages = []
    for message in client.receive(r["max"], seconds(r["invisible_ms"])) or []:
        with state_lock:
            handle = len(views) + 1
            views[handle] = message
        messages.append({"handle": handle, **describe(message)})
    return {"messages": messages}


def execute(r):
    client = clients.get(r["client"])
    op = r["op"]
    if op == "start":
        return start(r)
    if op == "send":
        return send(client, r)
    if op == "receive":
        return receive(client, r)
    if op == "ack":
        return client.ack(views[r["handle"]])
    if op == "change_invisible":
        return client.change_invisible_duration(views[r["handle"]], seconds(r["invisible_ms"]))
    if op == "release":
        return holds[r["client"]].set()
    if op == "stop":
        return client.shutdown()
    raise ValueError(f"unknown op {op}")


def answer(r):
    try:
        write({"id": r["id"], "ok": True, **(execute(r) or {})})
    except BaseException as error:  # The driver decides what an error means.
        traceback.print_exc()
        write({"id": r["id"], "ok": False, "error": f"{type(error).__name__}: {error}"})


write({"event": "hello", "language": "python", "tls": tls,
       "client_version": importlib.metadata.version("rocketmq-python-client")})
pool = ThreadPoolExecutor(64)
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] == "exit":
        break
    pool.submit(answer, request)
out.flush()
os._exit(0)
