"""Judges the history of a torture run. README.md draws the events; each rule below is one function and one class of violations.

Times are nanoseconds of one monotonic clock. A *life* of the server is the span from one start to the next; what a client hears after a
kill but before the next start was said by the killed one.
"""
import bisect
import collections
import dataclasses

OK = 20000
MS = 1_000_000
ROUNDING = 2 * MS      # the server counts invisible times in whole milliseconds
OTHER_CLOCK = 20 * MS  # over a restart they are kept by the wall clock, histories by the monotonic one
SHOWN = 5  # of each kind


@dataclasses.dataclass
class Setting:
    sync_topics: frozenset
    async_topics: frozenset
    strict_groups: frozenset       # receive by one stream at a time
    groups: frozenset
    power_loss: bool = False       # unsynced bytes were lost too: async messages may go
    window_ms: float = 100         # progress.flush_interval
    slack_ms: float = 250          # of the write that follows it, on a busy machine


@dataclasses.dataclass
class Delivery:
    n: int
    s: int
    t: int
    group: str
    topic: str
    id: str
    queue: int
    offset: int
    attempt: int
    sum: int
    stored: int
    inv: int
    life: int = 0
    acks: list = dataclasses.field(default_factory=list)
    changes: list = dataclasses.field(default_factory=list)

    @property
    def place(self):
        return (self.topic, self.queue, self.offset)

    def __str__(self):
        return f"{self.id} at {self.topic}/{self.queue}/{self.offset} to {self.group}, attempt {self.attempt}, t={self.t}"


class Check:
    """`violations`: kind -> sentences; `counts`: what was seen."""

    def __init__(self, events, server_events, setting):
        self.setting = setting
        self.violations = collections.defaultdict(list)
        self.counts = collections.Counter()
        self.widest_undone_ms = 0.0
        self.starts = sorted(e["t"] for e in server_events if e["e"] == "start")
        self.kills = sorted(e["t"] for e in server_events if e["e"] == "kill")
        self.sends = [e for e in events if e["e"] == "send"]
        self.deliveries = self._deliveries(events)
        self.by_id = collections.defaultdict(list)
        for d in self.deliveries:
            self.by_id[(d.topic, d.id)].append(d)
        for rule in (self.nothing_invented, self.nothing_lost, self.offsets_are_unique, self.offsets_follow_acknowledgements,
                     self.log_order_is_offset_order, self.first_deliveries_ascend, self.acknowledgements_hold,
                     self.no_early_redelivery, self.copies_have_a_reason):
            rule()
        self.counts["sends acknowledged"] = sum(e["code"] == OK for e in self.sends)
        self.counts["sends without an answer or refused"] = len(self.sends) - self.counts["sends acknowledged"]
        self.counts["deliveries"] = len(self.deliveries)
        self.counts["acknowledgements"] = sum(a["code"] == OK for d in self.deliveries for a in d.acks)
        self.counts["kills"] = len(self.kills)

    def _deliveries(self, events):
        deliveries = {}
        for e in events:
            if e["e"] == "recv":
                deliveries[e["n"]] = Delivery(**{k: v for k, v in e.items() if k != "e"}, life=self.life(e["t"]))
        for e in events:
            if e["e"] == "ack":
                deliveries[e["n"]].acks.append(e)
            elif e["e"] == "change":
                deliveries[e["n"]].changes.append(e)
        return sorted(deliveries.values(), key=lambda d: d.t)

    def life(self, t):
        return bisect.bisect_right(self.starts, t)

    def kill_after(self, t):
        """The kill that ended the life of `t`; None for the last life. It may lie before `t`: an answer that was read late."""
        life = self.life(t)
        return self.kills[life - 1] if 0 < life <= len(self.kills) else None

    def fail(self, kind, sentence):
        self.violations[kind].append(sentence)

    @property
    def limit(self):
        return (self.setting.window_ms + self.setting.slack_ms) * MS

    def nothing_invented(self):
        """What is delivered was sent, and is what was sent."""
        sent = {(e["topic"], e["id"]): e["sum"] for e in self.sends}
        for d in self.deliveries:
            if (d.topic, d.id) not in sent:
                self.fail("invented", f"nobody sent {d}")
            elif sent[(d.topic, d.id)] != d.sum:
                self.fail("invented", f"other content than was sent: {d}")

    def nothing_lost(self):
        """What was acknowledged to its sender is delivered to every group from the place that the sender was told, and finished."""
        for e in self.sends:
            if e["code"] != OK:
                continue
            may_go = e["topic"] in self.setting.async_topics and self.setting.power_loss
            for group in self.setting.groups:
                seen = [d for d in self.by_id[(e["topic"], e["id"])] if d.group == group and d.offset == e["offset"]]
                if not seen and may_go:
                    self.counts["async messages lost with the power"] += 1
                elif not seen:
                    self.fail("lost", f"{e['id']} of {e['topic']}, acknowledged with offset {e['offset']} at t={e['t']}, never came to {group}")
                elif not any(d.acks for d in seen):
                    self.fail("lost", f"{seen[-1]} was not acknowledged and never came again")

    def offsets_are_unique(self):
        """One offset, one message: over all groups and restarts, and for what senders were told."""
        owner = {}
        for d in self.deliveries:
            first = owner.setdefault(d.place, d)
            if first.id != d.id or first.stored != d.stored:
                self.fail("offset reused", f"{first} and {d}")

    def offsets_follow_acknowledgements(self):
        """A send that began after another was acknowledged has the higher offset, when both are in one queue."""
        queue_of = {(d.topic, d.id, d.offset): d.queue for d in self.deliveries}
        by_queue = collections.defaultdict(list)
        for e in self.sends:
            queue = queue_of.get((e["topic"], e["id"], e["offset"]))
            if e["code"] == OK and queue is not None:
                by_queue[(e["topic"], queue)].append(e)
        for sends in by_queue.values():
            ended = sorted(sends, key=lambda e: e["t"])
            highest, next_ended = None, 0
            for e in sorted(sends, key=lambda e: e["s"]):
                while next_ended < len(ended) and ended[next_ended]["t"] < e["s"]:
                    if highest is None or ended[next_ended]["offset"] > highest["offset"]:
                        highest = ended[next_ended]
                    next_ended += 1
                if highest is not None and e["offset"] <= highest["offset"]:
                    self.fail("reordered", f"{e['id']} was sent after {highest['id']} was acknowledged, but has offset {e['offset']} <= {highest['offset']}")

    def log_order_is_offset_order(self):
        """Store times never go down along a queue."""
        stored = {}
        for d in self.deliveries:
            stored.setdefault((d.topic, d.queue), {})[d.offset] = d
        for queue in stored.values():
            previous = None
            for offset in sorted(queue):
                d = queue[offset]
                if previous is not None and d.stored < previous.stored:
                    self.fail("reordered", f"stored earlier than its predecessor {previous}: {d}")
                previous = d

    def first_deliveries_ascend(self):
        """A group sees a queue in order. Groups with several streams: a receive that began after a later message had arrived must not
        bring an earlier one, within one life of the server."""
        seen, streams = set(), collections.defaultdict(list)
        for d in self.deliveries:
            if (d.group, d.place) not in seen and d.attempt == 1:
                streams[(d.group, d.topic, d.queue)].append(d)
            seen.add((d.group, d.place))
        for (group, _, _), arrived in streams.items():
            strict = group in self.setting.strict_groups
            highest, position = None, 0
            for d in sorted(arrived, key=lambda d: (d.s, d.t)):
                # Everything that had arrived before this receive began (strict: before this message arrived).
                while position < len(arrived) and arrived[position].t < (d.t if strict else d.s):
                    one = arrived[position]
                    if highest is None or one.offset > highest.offset or (not strict and one.life > highest.life):
                        highest = one
                    position += 1
                if highest is not None and d.offset < highest.offset and (strict or highest.life == d.life):
                    self.fail("reordered", f"{d} came after {highest}")

    def acknowledgements_hold(self):
        """What was acknowledged comes again only when the server was killed within the window behind the acknowledgement."""
        by_place = collections.defaultdict(list)
        for d in self.deliveries:
            by_place[(d.group, d.place)].append(d)
        for deliveries in by_place.values():
            self.counts["redeliveries"] += len(deliveries) - 1
            if len(deliveries) == 1:
                continue
            acks = sorted(a["t"] for d in deliveries for a in d.acks if a["code"] == OK)
            for d in deliveries:
                before = bisect.bisect_left(acks, d.t)
                if before == 0:
                    continue
                acked = acks[before - 1]
                if self.life(acked) == d.life:
                    self.fail("acknowledgement undone", f"{d}, acknowledged at t={acked} without a kill in between")
                    continue
                age = self.kill_after(acked) - acked
                self.counts["acknowledgements undone inside the window"] += 1
                self.widest_undone_ms = max(self.widest_undone_ms, age / MS)
                limit = self.limit if self.setting.window_ms > 0 else 0
                if age > limit:
                    self.fail("acknowledgement undone", f"{d}, acknowledged at t={acked}, {age / MS:.0f} ms before the kill")

    def no_early_redelivery(self):
        """Unacknowledged, a message comes again when its invisible time is over, with a higher attempt; earlier only when the server was
        killed before it could keep that the message was out."""
        last = {}
        for d in self.deliveries:
            previous = last.get((d.group, d.place))
            last[(d.group, d.place)] = d
            if previous is None or any(a["code"] == OK and a["t"] < d.t for a in previous.acks):
                continue
            if previous.life == d.life and d.attempt <= previous.attempt:
                self.fail("redelivery", f"attempt does not grow from {previous.attempt}: {d}")
            due, kept = previous.s + previous.inv * MS, previous.t
            for change in previous.changes:
                changed = change["s"] + change["inv"] * MS
                due = changed if change["code"] == OK else min(due, changed)
                kept = change["t"]
            if d.t >= due - (ROUNDING if previous.life == d.life else OTHER_CLOCK):
                continue
            if previous.life == d.life:
                self.fail("redelivery", f"{(due - d.t) / MS:.0f} ms before its invisible time was over: {d}")
            elif self.kill_after(kept) is not None and self.kill_after(kept) - kept > self.limit:
                self.fail("redelivery", f"{(due - d.t) / MS:.0f} ms early, although it was out {(self.kill_after(kept) - kept) / MS:.0f} ms before the kill: {d}")
            else:
                self.counts["early redeliveries inside the window"] += 1

    def copies_have_a_reason(self):
        """One message id is stored several times only when its sender had to repeat, and not more often than it tried."""
        attempts = collections.Counter()
        for e in self.sends:
            # A refusal for what the request is (4xxxx) means: not stored.
            if not 40000 <= e["code"] < 50000:
                attempts[(e["topic"], e["id"])] += 1
        for key, deliveries in self.by_id.items():
            copies = len({d.place for d in deliveries})
            if copies > 1:
                self.counts["messages stored twice by a repeated send"] += 1
            if copies > attempts[key]:
                self.fail("copies", f"{copies} copies of {key[1]} in {key[0]}, sent {attempts[key]} times")

    def report(self):
        lines = [f"  {count:9}  {name}" for name, count in sorted(self.counts.items())]
        if self.widest_undone_ms:
            lines.append(f"  {self.widest_undone_ms:9.1f}  ms before a kill: the oldest acknowledgement undone")
        for kind, sentences in self.violations.items():
            lines.append(f"  VIOLATION {kind}: {len(sentences)}")
            lines += [f"    {sentence}" for sentence in sentences[:SHOWN]]
        return "\n".join(lines)
