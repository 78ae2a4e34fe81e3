"""What every official client must be able to do, each written once for all languages.

A scenario is a function of a Context that raises when something does not hold. Waiting is always
for a condition with a deadline; where the promise is that something does *not* come, the wait ends
with something else that comes later than it would have.
"""
import collections
import contextlib
import dataclasses
import os
import pathlib
import signal
import sqlite3
import subprocess
import threading
import time
from typing import Callable

import server
from agent import AgentError
from context import check, check_nothing_left, check_same, has_all, ids, receive_one, receive_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
SECONDS = 40  # for anything that takes a moment in calm weather; the machine may be busy
# The body limit is 4 MiB; Node.js receives at most 4 MiB of message, so with room for the properties.
LARGE_BODY = 4 * 1024 * 1024 - 8 * 1024
STOP_SECONDS = 8  # below server.shutdown_grace: nothing may need all of it
# Languages whose clients let an empty property value through.
EMPTY_VALUES = {"go", "node"}
TLS_BY_DEFAULT = {"java", "go"}


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    run: Callable
    languages: frozenset
    own_server: bool = False


ALL = frozenset({"java", "go", "node", "python"})
SCENARIOS: list[Scenario] = []


def scenario(languages=ALL, own_server=False):
    def register(function):
        SCENARIOS.append(Scenario(function.__name__, function, frozenset(languages), own_server))
        return function
    return register


# The slow ones come first: the runner starts them in this order.


@scenario(own_server=True)
def survives_restart(c):
    """Clients go on by themselves after kill -9 and restart of the server or of one service, and nothing acknowledged is lost."""
    agent = c.own_agent(tls=c.long and c.lang in TLS_BY_DEFAULT)
    topic, simple_group, push_group = c.topic(), c.group(), c.group()
    simple = c.simple(simple_group, topic, agent=agent, await_ms=1000)
    push = c.push(push_group, topic, agent=agent)
    producer = c.producer(topic, agent=agent)
    stop = threading.Event()
    sent = {}  # body -> time of the acknowledgement of its send, None while there is none
    received = collections.defaultdict(list)  # body -> times at which the simple consumer had it
    kills = []  # their times
    acked = {}  # body -> time at which its ack was answered

    def send():
        number = 0
        while not stop.is_set():
            number += 1
            body = f"{topic} {number} ".encode() + c.random.randbytes(200)
            sent[body] = None
            try:
                producer.send(topic, body)
                sent[body] = time.monotonic()
            except AgentError:
                pass  # Not acknowledged: it may be stored or not.
            stop.wait(0.02)

    def receive():
        while not stop.is_set():
            try:
                for message in simple.receive(maximum=16, invisible_ms=3000):
                    received[message.body].append(time.monotonic())
                    simple.ack(message)
                    acked[message.body] = time.monotonic()
            except AgentError:
                stop.wait(0.1)

    def until(condition, deadline, what):
        while not condition():
            check(time.monotonic() < deadline, f"not in time: {what}")
            c.cluster.check_alive()
            time.sleep(0.05)
        return time.monotonic()

    def pushed():
        return {m.body for m in push.deliveries()}

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answered_since(sent, 0)) >= 60 and len(acked) >= 40 and len(pushed()) >= 40,
              time.monotonic() + 60, "traffic before the kill")
        processes = c.cluster.processes
        rounds = [processes] + ([[process] for process in processes] if len(processes) > 1 else [])
        for victims in rounds * (5 if c.long else 1):
            stop.wait(c.random.random())  # at any moment of the traffic
            killed = time.monotonic()
            c.cluster.kill(victims)
            kills.append(killed)
            # What was acknowledged just before any of the kills may come again, which may be after a later one.
            settled = {body for body, at in list(acked.items()) if at < killed - 1 and not any(abs(at - kill) < 1 for kill in kills)}
            serving = c.cluster.start(victims)
            sends = until(lambda: answered_since(sent, serving), serving + 15, "a send after SERVING")
            receives = until(lambda: set(list(received)) & answered_since(sent, serving), serving + 15,
                             "the simple consumer has a message sent after SERVING")
            pushes = until(lambda: pushed() & answered_since(sent, serving), serving + 15,
                           "the push consumer has a message sent after SERVING")
            c.note += f"{'; ' if c.note else 'went on after: '}{'' if victims is processes else victims[0].name + ': '}"
            c.note += f"send {sends - serving:.1f} s, receive {receives - serving:.1f} s, push {pushes - serving:.1f} s"
            until(lambda: len(answered_since(sent, serving)) >= 20, serving + SECONDS, "20 sends after SERVING")
            again = [body for body in settled if any(at > serving for at in received[body])]
            check(not again, f"{len(again)} of {len(settled)} messages acknowledged more than 1 s before the kill came again")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    expected = answered_since(sent, 0)
    missing = expected - set(received)
    if missing:
        receive_until(simple, lambda seen: missing <= {m.body for m in seen}, SECONDS)
    push.wait(lambda seen: expected <= {m.body for m in seen}, SECONDS)
    lost = expected - pushed()
    check(not lost, f"{len(lost)} of {len(expected)} acknowledged messages never reached the push consumer")
    invented = (set(received) | pushed()) - set(sent)
    check(not invented, f"{len(invented)} messages were delivered that nobody sent")
    again = [body for body in settled if any(at > serving for at in received[body])]
    check(not again, f"{len(again)} of {len(settled)} messages acknowledged more than 1 s before the kill came again")


def answered_since(sent, moment):
    return {body for body, at in list(sent.items()) if at is not None and at > moment}


@scenario(own_server=True)
def server_stops_gracefully(c):
    """SIGTERM under connected clients: parked receives are answered, the server ends with success; restarted, all goes on."""
    agent = c.own_agent()
    topic, simple_group, push_group = c.topic(), c.group(), c.group()
    push = c.push(push_group, topic, agent=agent, hold=True)
    producer = c.producer(topic, agent=agent)
    held = c.send(producer, topic)
    _, came = push.wait(has_all([held]), SECONDS)
    check(came, "the message did not come to the push consumer")
    simple = c.simple(simple_group, topic, agent=agent, await_ms=20000)
    acked = receive_one(simple, SECONDS)
    parked = simple.submit_receive()
    time.sleep(1)  # gives it the time to park; a receive that comes too late is a fault of the machine, not of the server
    stopping = time.monotonic()
    c.cluster.stop(STOP_SECONDS)
    c.note = f"stopped after {time.monotonic() - stopping:.1f} s"
    answer = simple.received(parked, 5)
    check(not answer, f"the parked receive was answered with {len(answer)} messages")
    push.release()  # The listener ends while there is no server: its acknowledgement has to wait.
    serving = c.cluster.start()
    sent = None
    while sent is None:
        check(time.monotonic() < serving + 15, "no send within 15 s after SERVING")
        try:
            sent = c.send(producer, topic)
        except AgentError:
            time.sleep(0.1)
    seen = []
    while sent.message_id not in ids(seen):
        check(time.monotonic() < serving + SECONDS, "the simple consumer does not go on")
        try:
            seen += simple.receive()
        except AgentError:
            time.sleep(0.1)
    check(acked.message_id not in ids(seen), "an acknowledged message came again after an orderly stop")
    _, came = push.wait(has_all([held, sent]), serving + SECONDS - time.monotonic())
    check(came, "the push consumer does not go on")


@scenario()
def slow_listener_sees_its_message_once(c):
    """The server renews the invisibility of a pushed message while its client lives."""
    topic, group = c.topic(), c.group()
    consumer = c.push(group, topic, hold=True)
    sent = c.send(c.producer(topic), topic)
    seen, came = consumer.wait(has_all([sent]), SECONDS)
    check(came, "the message did not come")
    seen, twice = consumer.wait(lambda seen: len(seen) > 1, server.AUTO_RENEW_SECONDS * 1.2)
    check(not twice, f"the message came again, attempts {[m.attempt for m in seen]}, while its listener was running")
    consumer.release()


@scenario()
def killed_consumer_gives_its_message_back(c):
    """What a push consumer held when it was killed goes to another consumer of the group within 30 s."""
    topic, group = c.topic(), c.group()
    victim = c.own_agent()
    held = c.push(group, topic, agent=victim, hold=True)
    sent = c.send(c.producer(topic), topic)
    _, came = held.wait(has_all([sent]), SECONDS)
    check(came, "the message did not come to the first consumer")
    survivor = c.simple(group, topic)
    check_nothing_left(survivor)
    victim.kill()
    killed = time.monotonic()
    message = receive_one(survivor, 45)
    took = time.monotonic() - killed
    c.note = f"came back after {took:.1f} s"
    check_same(message, sent)
    check(took < 35, f"it took {took:.1f} s")


@scenario()
def failing_listener_retries_then_dead_letters(c):
    """A failing listener gets the message again, later each time, up to the group's maximum; then it is a dead letter."""
    attempts = 3
    topic, group = c.topic(), c.group(max_attempts=attempts)
    consumer = c.push(group, topic, fail_attempts=1000)
    sent = c.send(c.producer(topic), topic, tag="doomed", keys=["k"], properties={"p": "v"})
    seen, came = consumer.wait(lambda seen: len(seen) >= attempts, 60)
    check(came, f"only {len(seen)} deliveries")
    check([m.attempt for m in seen] == list(range(1, attempts + 1)), f"attempts {[m.attempt for m in seen]}")
    for message in seen:
        check_same(message, sent)
    gaps = [b.at - a.at for a, b in zip(seen, seen[1:])]
    check(all(gap > 0.5 for gap in gaps), f"retried without a pause: {gaps}")
    if c.lang != "node":  # Its client takes the seconds of the policy for milliseconds.
        check(gaps[-1] > gaps[0], f"the backoff does not grow: {gaps}")
    reader = c.simple_when_routable(c.group(), f"%DLQ%{group}")
    dead = receive_one(reader, SECONDS)
    check(dead.body == sent.body, "the dead letter's body differs")
    check((dead.tag, dead.keys) == (sent.tag, sent.keys), f"the dead letter has tag {dead.tag} and keys {dead.keys}")
    check(dead.properties.items() >= sent.properties.items(), f"the dead letter has properties {dead.properties}")
    check(len(consumer.deliveries()) == attempts, "the dead letter was still delivered to its group")
    c.note = f"pauses {', '.join(f'{gap:.1f}' for gap in gaps)} s"


@scenario()
def listener_succeeds_on_retry(c):
    """A message whose listener failed twice is delivered a third time, and then is done."""
    topic, group = c.topic(), c.group()
    consumer = c.push(group, topic, fail_attempts=2)
    producer = c.producer(topic)
    sent = c.send(producer, topic)
    seen, came = consumer.wait(lambda seen: len(seen) >= 3, 60)
    check(came, f"only attempts {[m.attempt for m in seen]}")
    check([m.attempt for m in seen] == [1, 2, 3], f"attempts {[m.attempt for m in seen]}")
    check(ids(seen) == [sent.message_id] * 3, "another message came")
    # Had the success not counted, the next attempt would be due 10 s later by the default policy.
    seen, again = consumer.wait(lambda seen: len(seen) > 3, 12)
    check(not again, f"it came again after its success, attempts {[m.attempt for m in seen]}")


@scenario()
def unacknowledged_message_comes_again(c):
    """After the invisible time a message comes again, with growing attempts, and at last is a dead letter."""
    attempts = 3
    topic, group = c.topic(), c.group(max_attempts=attempts)
    consumer = c.simple(group, topic)
    sent = c.send(c.producer(topic), topic)
    seen = receive_until(consumer, lambda seen: len(seen) >= attempts, 60, ack=False, invisible_ms=2000)
    check([m.attempt for m in seen] == [1, 2, 3], f"attempts {[m.attempt for m in seen]}")
    for message in seen:
        check_same(message, sent)
    for earlier, later in zip(seen, seen[1:]):
        # The time of the earlier one is taken when its client has it, which on a busy machine is later than the server's.
        check(later.at - earlier.at > 1, f"came again {later.at - earlier.at:.1f} s after being made invisible for 2 s")
    check_nothing_left(consumer)  # waits as long as the last delivery was invisible
    reader = c.simple_when_routable(c.group(), f"%DLQ%{group}")
    deadline = time.monotonic() + SECONDS
    dead = []
    while not dead:  # The group's consumer goes on asking: the server may only then see that the time is over.
        check(time.monotonic() < deadline, "no dead letter came")
        check_nothing_left(consumer)
        dead = reader.receive()
    check(ids(dead) == [sent.message_id] and dead[0].body == sent.body, "the dead letter differs")


@scenario()
def invisible_time_can_be_changed(c):
    """A longer time keeps a message away, a shorter one brings it back early; the newest handle acknowledges."""
    topic, group = c.topic(), c.group()
    consumer, producer = c.simple(group, topic), c.producer(topic)
    kept, control = c.send(producer, topic), c.send(producer, topic)
    first = {m.message_id: m for m in receive_until(consumer, has_all([kept, control]), SECONDS, ack=False, invisible_ms=5000)}
    consumer.change_invisible(first[kept.message_id], 60000)
    # The one left alone comes back after 5 s. By then the other would have, too.
    back = receive_one(consumer, SECONDS)
    check(back.message_id == control.message_id, "the message with the longer time came back early")
    check_nothing_left(consumer)
    changed = time.monotonic()
    consumer.change_invisible(first[kept.message_id], 1000)
    back = receive_one(consumer, SECONDS)
    check(back.message_id == kept.message_id and back.attempt == 2, f"{back.message_id} came, attempt {back.attempt}")
    check(time.monotonic() - changed < 20, "the shorter time had no effect")


@scenario()
def acknowledged_message_is_gone(c):
    """Of two messages received together the acknowledged one never comes again, the other does."""
    topic, group = c.topic(), c.group()
    consumer, producer = c.simple(group, topic), c.producer(topic)
    acked, left = c.send(producer, topic), c.send(producer, topic)
    seen = receive_until(consumer, has_all([acked, left]), SECONDS, ack=False, invisible_ms=3000)
    consumer.ack(next(m for m in seen if m.message_id == acked.message_id))
    back = receive_one(consumer, SECONDS)
    check(back.message_id == left.message_id and back.attempt == 2, f"{back.message_id} came, attempt {back.attempt}")
    check_nothing_left(consumer)


@scenario()
def sends_and_receives(c):
    """Bodies of every size, tags, keys and properties arrive as they were sent."""
    topic, group = c.topic(), c.group()
    producer = c.producer(topic)
    properties = {"plain": "value", "schlüssel-ключ": "übergrößen-значение-値-🐦", "quote": "\"'\\=,;", "long": "x" * 4000}
    if c.lang in EMPTY_VALUES:
        properties["empty"] = ""
    sent = [
        c.send(producer, topic, b"\0"),
        c.send(producer, topic, bytes(range(256)), tag="tag-1"),
        c.send(producer, topic, "Grüße 世界".encode(), keys=["key-1", "κλειδί", "key 3"]),
        c.send(producer, topic, properties=properties),
        c.send(producer, topic, b"all", tag="ταγ", keys=["k"], properties={"a": "1", "b": "2"}),
        c.send(producer, topic, c.random.randbytes(64 * 1024)),
        c.send(producer, topic, c.random.randbytes(LARGE_BODY), tag="large"),
    ]
    check(len({s.message_id for s in sent}) == len(sent), "message ids repeat")
    consumer = c.simple(group, topic)
    seen = {m.message_id: m for m in receive_until(consumer, has_all(sent), SECONDS)}
    for one in sent:
        check_same(seen[one.message_id], one)
        check(seen[one.message_id].attempt == 1, f"attempt {seen[one.message_id].attempt} at the first delivery")
    check_nothing_left(consumer)


@scenario()
def pushes(c):
    """A push consumer gets what was there before it and what is sent while it listens."""
    topic, group = c.topic(), c.group()
    producer = c.producer(topic)
    sent = [c.send(producer, topic, tag="t", keys=[f"k{i}"], properties={"i": str(i)}) for i in range(20)]
    consumer = c.push(group, topic)
    sent += [c.send(producer, topic) for _ in range(20)]
    sent.append(c.send(producer, topic, c.random.randbytes(LARGE_BODY)))
    seen, came = consumer.wait(has_all(sent), SECONDS)
    check(came, f"{len(seen)} of {len(sent)} messages came")
    by_id = {m.message_id: m for m in seen}
    for one in sent:
        check_same(by_id[one.message_id], one)


@scenario()
def tag_filter(c):
    """'a || b' lets the two tags through and nothing else, for simple and push consumers."""
    topic, simple_group, push_group = c.topic(), c.group(), c.group()
    simple = c.simple(simple_group, topic, "a || b")
    push = c.push(push_group, topic, "a || b")
    producer = c.producer(topic)
    wanted = []
    for tag in ("c", None, "a", "ab", "b", "c", "a", "A", "b"):
        one = c.send(producer, topic, **({"tag": tag} if tag else {}))
        wanted += [one] if tag in ("a", "b") else []
    seen = receive_until(simple, has_all(wanted), SECONDS)
    check(set(ids(seen)) == {w.message_id for w in wanted}, f"tags {[m.tag for m in seen]} came")
    check_nothing_left(simple)
    seen, came = push.wait(has_all(wanted), SECONDS)
    check(came, f"tags {[m.tag for m in seen]} were pushed")
    check(set(ids(seen)) == {w.message_id for w in wanted}, f"tags {[m.tag for m in seen]} were pushed")


@scenario()
def sql_filter(c):
    """An SQL expression lets through what it is TRUE for, for simple and push consumers; what it cannot tell stays away."""
    expression = "TAGS IN ('paid', 'sent') AND amount BETWEEN 100 AND 500.5 AND region STARTSWITH 'eu' AND missing IS NULL"
    topic, simple_group, push_group = c.topic(), c.group(), c.group()
    simple = c.simple(simple_group, topic, expression, sql=True)
    push = c.push(push_group, topic, expression, sql=True)
    producer = c.producer(topic)
    fits = {"amount": "100", "region": "eu-west"}
    wanted, others = [], [{"amount": "99.9"}, {"amount": "501"}, {"amount": "much"}, {"region": "us"}, {"missing": "not"}]
    for other in others:
        c.send(producer, topic, tag="paid", properties=fits | other)
        wanted.append(c.send(producer, topic, tag="sent", properties=fits | {"amount": str(100 + 80.1 * len(wanted))}))
        c.send(producer, topic, tag="lost", properties=fits)
        c.send(producer, topic, tag="paid", properties={"region": "eu"})
        c.send(producer, topic, properties=fits)
    seen = receive_until(simple, has_all(wanted), SECONDS)
    check(set(ids(seen)) == {w.message_id for w in wanted}, f"{[(m.tag, m.properties) for m in seen]} came")
    check_nothing_left(simple)
    seen, came = push.wait(has_all(wanted), SECONDS)
    check(came, f"only {[(m.tag, m.properties) for m in seen]} were pushed")
    check(set(ids(seen)) == {w.message_id for w in wanted}, f"{[(m.tag, m.properties) for m in seen]} were pushed")
    # A mistake is told when it is made, or at the first receive; not every client passes on the server's words.
    try:
        c.simple(c.group(), topic, "amount BETWEEN 100", sql=True).receive()
    except AgentError:
        return
    check(False, "a bad expression was taken")


@scenario(languages={"java"})
def higher_priority_comes_first(c):
    """In a topic of type priority the higher number comes first and equal ones in the order of their sending."""
    topic, group = c.topic(kind="priority", queues=10), c.group()
    producer = c.producer(topic)
    sent = [(priority, c.send(producer, topic, priority=priority)) for priority in (3, 0, 9, 3, 5, 9, 0, 7, 40)]
    simple = c.simple(group, topic)
    seen = receive_until(simple, has_all([s for _, s in sent]), SECONDS)
    wanted = [s.message_id for _, s in sorted(sent, key=lambda one: -min(one[0], 9))]
    check(ids(seen) == wanted, f"came as {ids(seen)}, wanted {wanted}")


@scenario()
def expired_message_does_not_come(c):
    """A message whose property FULMAR_TTL_MS is over is passed over, the others come."""
    topic, group = c.topic(), c.group()
    producer = c.producer(topic)
    c.send(producer, topic, properties={"FULMAR_TTL_MS": "1"})
    kept = c.send(producer, topic, properties={"FULMAR_TTL_MS": "3600000"})
    simple = c.simple(group, topic)
    check_same(receive_one(simple, SECONDS), kept)
    check_nothing_left(simple)


@scenario()
def suspended_group_gets_nothing(c):
    """Nothing comes while a group is suspended; its resumption brings what was sent meanwhile."""
    topic, group = c.topic(), c.group()
    producer, simple = c.producer(topic), c.simple(group, topic)
    first = c.send(producer, topic)
    check_same(receive_one(simple, SECONDS), first)
    c.cluster.control("group", "suspend", group)
    second = c.send(producer, topic)
    check_nothing_left(simple)
    c.cluster.control("group", "resume", group)
    check_same(receive_one(simple, SECONDS), second)


@scenario()
def dead_letter_is_redriven(c):
    """A dead letter comes to its group again when it is redriven, with all its parts and a count."""
    topic, group = c.topic(), c.group(max_attempts=1)
    producer, simple = c.producer(topic), c.simple(group, topic)
    sent = c.send(producer, topic, tag="tag", keys=["k"], properties={"p": "v"})
    receive_until(simple, has_all([sent]), SECONDS, ack=False, invisible_ms=10000)
    deadline = time.monotonic() + SECONDS
    while "redriven" not in str(c.cluster.control("dlq", "redrive", group)):
        check(time.monotonic() < deadline, "it is no dead letter yet")
        time.sleep(0.2)
    again = receive_one(simple, SECONDS)
    check(again.properties.get("FULMAR_REDRIVE_COUNT") == "1", f"properties {again.properties}")
    check((again.message_id, again.body, again.tag, again.keys, again.properties["p"]) ==
          (sent.message_id, sent.body, "tag", ["k"], "v"), "a part was lost")


@scenario()
def group_shares_and_groups_do_not(c):
    """Two consumers of one group share the messages; another group, by push, gets all of them too."""
    topic, shared, other = c.topic(), c.group(), c.group()
    push = c.push(other, topic)
    consumers = [c.simple(shared, topic), c.simple(shared, topic)]
    producer = c.producer(topic)
    started = time.monotonic()
    sent = [c.send(producer, topic) for _ in range(30)]
    seen = {0: [], 1: []}
    deadline = time.monotonic() + SECONDS
    while not has_all(sent)(seen[0] + seen[1]):
        check(time.monotonic() < deadline, f"only {len(seen[0])} and {len(seen[1])} messages came")
        for index, consumer in enumerate(consumers):
            for message in consumer.receive(maximum=4):
                consumer.ack(message)
                seen[index].append(message)
    both = ids(seen[0] + seen[1])
    check(set(both) == {s.message_id for s in sent}, "the two consumers have messages that nobody sent")
    check(seen[0] and seen[1], f"one consumer got everything: {len(seen[0])} and {len(seen[1])}")
    calm = time.monotonic() - started < 3  # else a retried send may have stored one twice
    check(not calm or len(both) == len(sent), f"{len(both)} deliveries of {len(sent)} messages in calm weather")
    pushed, came = push.wait(has_all(sent), SECONDS)
    check(came, f"the other group got {len(pushed)} of {len(sent)} messages")


@scenario()
def parked_receive_is_woken(c):
    """A receive that waits is answered by the message that comes, not by its deadline."""
    topic, group = c.topic(), c.group()
    consumer, producer = c.simple(group, topic, await_ms=15000), c.producer(topic)
    for _ in range(3):
        parked = consumer.submit_receive()
        time.sleep(0.5)  # gives it the time to park; a send that comes first only makes the test weaker
        sent = c.send(producer, topic)
        answered = time.monotonic()
        messages = consumer.received(parked)
        took = time.monotonic() - answered
        check(ids(messages) == [sent.message_id], f"{len(messages)} messages came")
        check(took < 5, f"it came {took:.1f} s after its send was answered")
        consumer.ack(messages[0])


@scenario()
def unknown_topic_and_group_are_created(c):
    """Nothing has to be declared: a topic exists when it is first asked for, a group when it first consumes."""
    topic = c.name("auto")
    consumer = c.simple(c.name("auto"), topic)
    check_nothing_left(consumer)  # from here on the group exists, so where a new group starts does not matter
    sent = c.send(c.producer(topic), topic)
    message = receive_one(consumer, SECONDS)
    check_same(message, sent)


@scenario()
def stops_gracefully(c):
    """Shutting a client down ends, and what it had not finished goes to the next one."""
    topic, group = c.topic(), c.group()
    agent = c.own_agent()
    producer, push = c.producer(topic, agent=agent), c.push(group, topic, agent=agent)
    sent = c.send(producer, topic)
    _, came = push.wait(has_all([sent]), SECONDS)
    check(came, "the message did not come")
    push.stop()
    late = c.send(producer, topic)
    producer.stop()
    consumer = c.simple(group, topic, agent=agent)
    seen = receive_until(consumer, has_all([late]), SECONDS)
    check_nothing_left(consumer)  # what the stopped listener had consumed would come back to the group
    check(ids(seen) == [late.message_id], f"{len(seen)} messages came")
    consumer.stop()


@scenario()
def documented_snippet_runs(c):
    """The program in docs/snippets sends and receives, as it is printed."""
    language = c.pool.languages[c.lang]
    home = c.cluster.directory / f"snippet-{c.lang}"
    home.mkdir()
    text = (REPOSITORY / "docs" / "snippets" / language.snippet).read_text()
    check("127.0.0.1:8081" in text and "quickstart" in text, "the snippet has another address or topic now")
    program = home / language.snippet
    program.write_text(text.replace("127.0.0.1:8081", c.endpoint).replace("quickstart", c.topic()))
    command = [part.replace("{home}", str(home)) for part in language.run_file] + [str(program)]
    environment = {**os.environ, **language.environment, "HOME": str(home)}  # the clients log below the home directory
    done = subprocess.run(command, cwd=language.directory or home, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120, check=False)
    check(done.returncode == 0, f"exit {done.returncode}: {done.stderr.strip()[-300:]}")
    check("sent " in done.stdout and "received " in done.stdout and "hello from" in done.stdout, f"it printed {done.stdout!r}")


@scenario(languages={"python"})
def ledger_lets_each_effect_happen_once(c):
    """Consumers of docs/snippets/ledger die and freeze at random moments; each business key, sent up to three times, is booked exactly once."""
    home = c.cluster.directory / "ledger"
    home.mkdir()
    python = c.pool.languages["python"].run_file[0]
    subprocess.run([python, "-m", "grpc_tools.protoc", "-I", REPOSITORY / "protos", f"--python_out={home}", f"--grpc_python_out={home}",
                    "fulmar/ledger/v1/ledger.proto"], check=True, timeout=120)
    topic, group, database = c.topic(), c.group(), home / "shop.db"
    command = [python, REPOSITORY / "docs" / "snippets" / "ledger" / "consumer.py", c.endpoint, c.cluster.ledger, topic, group, database]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(home), "LEASE_SECONDS": "2", "INVISIBLE_SECONDS": "3", "JITTER_SECONDS": "0.15", "DEATH": "0.06"}

    def start():
        return subprocess.Popen(command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    producer = c.producer(topic)
    amounts = {f"order-{i}": c.random.randrange(1, 1000) for i in range(300 if c.long else 80)}
    for key, amount in amounts.items():
        for _ in range(c.random.choice((1, 1, 2, 3))):  # producers repeat too
            c.send(producer, topic, str(amount).encode(), keys=[key])
    kills = freezes = deaths = 0
    with open(home / "consumers.log", "wb") as log:
        consumers = [start() for _ in range(3)]
        try:
            deadline = time.monotonic() + 600
            while True:
                time.sleep(c.random.uniform(0.3, 1.5))
                for i, consumer in enumerate(consumers):
                    if consumer.poll() is not None:  # by its own hand, at a step of its work
                        consumers[i] = start()
                        deaths += 1
                i = c.random.randrange(len(consumers))
                if (draw := c.random.random()) < 0.2:
                    consumers[i].send_signal(signal.SIGSTOP)  # wakes up after its lease, and must not book then
                    time.sleep(2.5)
                    consumers[i].send_signal(signal.SIGCONT)
                    freezes += 1
                elif draw < 0.4:
                    consumers[i].kill()
                    consumers[i].wait()
                    consumers[i] = start()
                    kills += 1
                if (home / "shop.db").exists() and booked(database) >= len(amounts):
                    break
                check(time.monotonic() < deadline, "the bookings do not end")
            # Nothing is left for the group, so nothing can be booked any more.
            while c.cluster.control("group", "describe", group)["lag"] > 0:
                check(time.monotonic() < deadline, "the messages are not acknowledged")
                time.sleep(0.5)
                consumers = [consumer if consumer.poll() is None else start() for consumer in consumers]
        finally:
            for consumer in consumers:
                consumer.kill()
                consumer.wait()
    with contextlib.closing(sqlite3.connect(database)) as shop:
        entries = shop.execute("SELECT key, amount FROM entries ORDER BY id").fetchall()
    check(deaths > 0 and len(entries) == len(amounts) and dict(entries) == amounts,
          f"{len(entries)} entries for {len(amounts)} keys, twice: {[k for k, n in collections.Counter(k for k, _ in entries).items() if n > 1]}")
    entry = c.cluster.control("ledger", "get", group, "order-0", endpoint=c.cluster.ledger)
    check(entry["state"] == "completed" and entry["token"] > 0, f"the ledger says {entry}")
    c.note = f"{len(entries)} keys, {deaths} deaths, {kills} kills, {freezes} freezes"


def booked(database):
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as shop:
        try:
            return shop.execute("SELECT count(*) FROM booked").fetchone()[0]
        except sqlite3.OperationalError:  # no table yet
            return 0


@scenario(languages=TLS_BY_DEFAULT)
def speaks_tls_by_default(c):
    """Clients whose default is TLS work untouched on the same port."""
    agent = c.own_agent(tls=True)
    check(agent.hello["tls"], "the agent was not started with TLS")
    topic, group, push_group = c.topic(), c.group(), c.group()
    push = c.push(push_group, topic, agent=agent)
    producer = c.producer(topic, agent=agent)
    sent = [c.send(producer, topic, tag="t") for _ in range(10)] + [c.send(producer, topic, c.random.randbytes(LARGE_BODY))]
    consumer = c.simple(group, topic, agent=agent)
    seen = {m.message_id: m for m in receive_until(consumer, has_all(sent), SECONDS)}
    for one in sent:
        check_same(seen[one.message_id], one)
    _, came = push.wait(has_all(sent), SECONDS)
    check(came, "the push consumer did not get all messages")
