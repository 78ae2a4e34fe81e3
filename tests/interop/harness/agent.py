"""The driver's end of an agent process, and the three kinds of clients that live in one."""
import base64
import collections
import concurrent.futures
import itertools
import json
import os
import subprocess
import threading
import time

HELLO_SECONDS = 60
CALL_SECONDS = 40
REQUEST_TIMEOUT_MS = 5000  # the clients' default of 3 s is short for four languages on two cores
AWAIT_MS = 2000


class AgentError(Exception):
    """The client under test reported a failure."""


# Python opens its telemetry stream in the callback of its route query. An answer that is there before the callback is registered makes it do so on
# the caller's thread, which has no event loop: the stream is never opened, a push consumer gives up after 10 s, and stumbles while cleaning up.
LOST_STREAM = {"python": "AttributeError: 'NoneType' object has no attribute 'shutdown'"}
START_TRIES = 3

Message = collections.namedtuple("Message", "handle message_id topic body tag keys properties attempt at")


def to_message(fields):
    return Message(fields.get("handle"), fields["message_id"], fields["topic"], base64.b64decode(fields["body"] or ""),
                   fields.get("tag"), sorted(fields["keys"]), fields["properties"], fields["attempt"], time.monotonic())


class Agent:
    """One process with clients of one language. Calls may come from any thread."""

    _numbers = itertools.count(1)

    def __init__(self, language, logs, tls=False):
        self.language = language.name
        number = next(Agent._numbers)
        home = logs / f"agent-{number}-{language.name}"  # the clients log below the home directory
        home.mkdir(parents=True)
        command = [part.replace("{home}", str(home)) for part in language.command] + (["--tls"] if tls else [])
        self._stderr = open(home / "stderr.log", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                                        env={**os.environ, **language.environment, "HOME": str(home)})
        self._write = threading.Lock()
        self._state = threading.Condition()
        self._calls = {}
        self._deliveries = collections.defaultdict(list)
        self._hello = concurrent.futures.Future()
        self._ids = itertools.count(1)
        self._closing = False
        threading.Thread(target=self._read, name=f"agent-{number}", daemon=True).start()
        self.hello = self._hello.result(HELLO_SECONDS)

    def _read(self):
        for line in self.process.stdout:
            value = json.loads(line)
            event = value.get("event")
            if event == "hello":
                self._hello.set_result(value)
            elif event == "delivery":
                with self._state:
                    self._deliveries[value["client"]].append(to_message(value["message"]))
                    self._state.notify_all()
            else:
                with self._state:
                    call = self._calls.pop(value["id"])
                if value["ok"]:
                    call.set_result(value)
                else:
                    call.set_exception(AgentError(f"{self.language}: {value['error']}"))
        ended = AgentError(f"the {self.language} agent has ended")
        with self._state:
            calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.set_exception(ended)
        if not self._hello.done():
            self._hello.set_exception(ended)

    def submit(self, op, client, **arguments):
        """Starts a call; the future gives the reply or raises AgentError."""
        future = concurrent.futures.Future()
        with self._state:
            number = next(self._ids)
            self._calls[number] = future
        line = json.dumps({"id": number, "op": op, "client": client, **arguments}).encode() + b"\n"
        try:
            with self._write:
                self.process.stdin.write(line)
                self.process.stdin.flush()
        except OSError:
            raise AgentError(f"the {self.language} agent has ended") from None
        return future

    def call(self, op, client, timeout=CALL_SECONDS, **arguments):
        try:
            return self.submit(op, client, **arguments).result(timeout)
        except concurrent.futures.TimeoutError:
            raise AgentError(f"{self.language}: no answer to {op} within {timeout} s") from None

    def deliveries(self, client):
        with self._state:
            return list(self._deliveries[client])

    def wait_deliveries(self, client, condition, seconds):
        """Waits until `condition` holds for the list of deliveries so far; returns the list and whether it holds."""
        deadline = time.monotonic() + seconds
        with self._state:
            while True:
                seen = list(self._deliveries[client])
                if condition(seen):
                    return seen, True
                left = deadline - time.monotonic()
                if left <= 0:
                    return seen, False
                self._state.wait(left)

    def kill(self):
        """kill -9: the clients have no chance to say goodbye."""
        self.process.kill()
        self.process.wait()
        self._stderr.close()


class Client:
    _names = itertools.count(1)

    def __init__(self, agent, kind, endpoint, **options):
        self.agent, self.name = agent, f"{kind}-{next(Client._names)}"
        for left in reversed(range(START_TRIES)):
            try:
                agent.call("start", self.name, kind=kind, endpoint=endpoint, request_timeout_ms=REQUEST_TIMEOUT_MS,
                           timeout=60, **options)
                return
            except AgentError as error:
                if not left or not str(error).endswith(LOST_STREAM.get(agent.language, "never")):
                    raise

    def stop(self, seconds=60):
        self.agent.call("stop", self.name, timeout=seconds)


class Producer(Client):
    def __init__(self, agent, endpoint, *topics):
        super().__init__(agent, "producer", endpoint, topics=topics)

    def submit(self, topic, body, tag=None, keys=None, properties=None, priority=None):
        optional = {"tag": tag, "keys": keys, "properties": properties, "priority": priority}
        return self.agent.submit("send", self.name, topic=topic, body=base64.b64encode(body).decode(),
                                 **{name: value for name, value in optional.items() if value is not None})

    def send(self, *arguments, **options):
        """Returns the id of the stored message."""
        try:
            return self.submit(*arguments, **options).result(CALL_SECONDS)["message_id"]
        except concurrent.futures.TimeoutError:
            raise AgentError(f"{self.agent.language}: no answer to send within {CALL_SECONDS} s") from None


class SimpleConsumer(Client):
    def __init__(self, agent, endpoint, group, subscriptions, await_ms=AWAIT_MS, sql=False):
        super().__init__(agent, "simple", endpoint, group=group, subscriptions=subscriptions, await_ms=await_ms, sql=sql)

    def submit_receive(self, maximum=16, invisible_ms=30000):
        """Starts a receive; `received` waits for its answer."""
        return self.agent.submit("receive", self.name, max=maximum, invisible_ms=invisible_ms)

    def received(self, future, seconds=CALL_SECONDS):
        try:
            return [to_message(fields) for fields in future.result(seconds)["messages"]]
        except concurrent.futures.TimeoutError:
            raise AgentError(f"{self.agent.language}: no answer to receive within {seconds} s") from None

    def receive(self, maximum=16, invisible_ms=30000):
        return self.received(self.submit_receive(maximum, invisible_ms))

    def ack(self, message):
        self.agent.call("ack", self.name, handle=message.handle)

    def change_invisible(self, message, milliseconds):
        self.agent.call("change_invisible", self.name, handle=message.handle, invisible_ms=milliseconds)


class PushConsumer(Client):
    def __init__(self, agent, endpoint, group, subscriptions, fail_attempts=0, hold=False, sql=False):
        super().__init__(agent, "push", endpoint, group=group, subscriptions=subscriptions,
                         fail_attempts=fail_attempts, hold=hold, sql=sql)

    def deliveries(self):
        return self.agent.deliveries(self.name)

    def wait(self, condition, seconds):
        return self.agent.wait_deliveries(self.name, condition, seconds)

    def release(self):
        self.agent.call("release", self.name)
