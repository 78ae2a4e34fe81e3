"""What a scenario works with: a server, agents, fresh names, and the checks that several scenarios share."""
import collections
import itertools
import random
import threading
import time

from agent import Agent, AgentError, Producer, PushConsumer, SimpleConsumer


class Failure(Exception):
    """What was promised does not hold."""


def check(holds, text):
    if not holds:
        raise Failure(text)


Sent = collections.namedtuple("Sent", "message_id body tag keys properties")


class AgentPool:
    """The long-lived agents, one per language, and those that scenarios start to kill them."""

    def __init__(self, languages, logs):
        self._languages, self._logs = languages, logs
        self.languages = languages
        self._locks = {name: threading.Lock() for name in languages}
        self._shared = {}
        self._all = []

    def shared(self, name):
        with self._locks[name]:
            if name not in self._shared:
                self._shared[name] = self.fresh(name)
            return self._shared[name]

    def fresh(self, name, tls=False):
        agent = Agent(self._languages[name], self._logs, tls)
        self._all.append(agent)
        return agent

    def close(self):
        for agent in list(self._all):
            agent.kill()


class Context:
    _numbers = itertools.count(1)

    def __init__(self, scenario, lang, cluster, pool, options):
        self.scenario, self.lang, self.cluster, self.pool, self.long = scenario, lang, cluster, pool, options.long
        self.random = random.Random(f"{options.seed}/{scenario}/{lang}")
        self.note = ""  # printed behind the result
        self._own_agents = []

    @property
    def endpoint(self):
        return self.cluster.endpoint

    @property
    def agent(self):
        return self.pool.shared(self.lang)

    def own_agent(self, lang=None, tls=False):
        """An agent for this scenario only, killed at its end."""
        agent = self.pool.fresh(lang or self.lang, tls)
        self._own_agents.append(agent)
        return agent

    def close(self):
        for agent in self._own_agents:
            agent.kill()

    def name(self, prefix):
        return f"{prefix}-{self.scenario}-{self.lang}-{next(Context._numbers)}"

    def topic(self, **options):
        name = self.name("t")
        self.cluster.create_topic(name, **options)
        return name

    def group(self, **options):
        name = self.name("g")
        self.cluster.create_group(name, **options)
        return name

    def producer(self, *topics, agent=None):
        return Producer(agent or self.agent, self.endpoint, *topics)

    def simple(self, group, topic, expression="*", agent=None, **options):
        return SimpleConsumer(agent or self.agent, self.endpoint, group, {topic: expression}, **options)

    def push(self, group, topic, expression="*", agent=None, **options):
        return PushConsumer(agent or self.agent, self.endpoint, group, {topic: expression}, **options)

    def simple_when_routable(self, group, topic, seconds=30, **options):
        """For topics that the server itself creates: retries until the route is there."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.simple(group, topic, **options)
            except AgentError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def send(self, producer, topic, body=None, **options):
        body = body if body is not None else self.random.randbytes(self.random.randint(1, 2000))
        message_id = producer.send(topic, body, **options)
        check(message_id, "the send receipt has no message id")
        return Sent(message_id, body, options.get("tag"), sorted(options.get("keys", [])), options.get("properties", {}))


def check_same(message, sent):
    """Every byte and field as it was sent."""
    what = f"message {sent.message_id}"
    check(message.message_id == sent.message_id, f"{what}: received the id {message.message_id}")
    check(message.body == sent.body, f"{what}: body differs ({len(message.body)} bytes, sent {len(sent.body)})")
    check((message.tag or None) == sent.tag, f"{what}: tag {message.tag!r}, sent {sent.tag!r}")
    check(message.keys == sent.keys, f"{what}: keys {message.keys}, sent {sent.keys}")
    check(message.properties == sent.properties, f"{what}: properties {message.properties}, sent {sent.properties}")


def receive_until(consumer, condition, seconds, ack=True, **options):
    """Receives until `condition` holds for the list of all messages so far."""
    seen = []
    deadline = time.monotonic() + seconds
    while not condition(seen):
        check(time.monotonic() < deadline, f"after {seconds} s only {len(seen)} receives of messages: "
              f"{[(m.message_id, m.attempt) for m in seen][-20:]}")
        for message in consumer.receive(**options):
            seen.append(message)
            if ack:
                consumer.ack(message)
    return seen


def ids(messages):
    return [m.message_id for m in messages]


def receive_one(consumer, seconds, **options):
    """The next message, which must come alone."""
    seen = receive_until(consumer, lambda seen: len(seen) >= 1, seconds, **options)
    check(len(seen) == 1, f"{len(seen)} messages came instead of one: {[(m.message_id, m.attempt) for m in seen]}")
    return seen[0]


def has_all(sent):
    wanted = {s.message_id for s in sent}
    return lambda seen: wanted <= set(ids(seen))


def check_nothing_left(consumer):
    left = consumer.receive(maximum=16, invisible_ms=30000)
    check(not left, f"{len(left)} messages came that should not: {[(m.message_id, m.attempt) for m in left]}")
