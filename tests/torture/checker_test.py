"""The checker finds what it is there to find: a good history, and one planted fault in it per test."""
import copy
import unittest

from checker import MS, OK, Check, Setting

SETTING = Setting(sync_topics=frozenset({"T"}), async_topics=frozenset({"A"}), strict_groups=frozenset({"g"}), groups=frozenset({"g", "h"}))
KILL, RESTART = 1000 * MS, 1100 * MS


def server():
    return [{"e": "start", "t": 0}, {"e": "kill", "t": KILL}, {"e": "start", "t": RESTART}]


def message(i, at, topic="T"):
    """Sent at `at` ms as offset i of queue 0, delivered to both groups and acknowledged by them."""
    events = [{"e": "send", "s": at * MS, "t": (at + 1) * MS, "topic": topic, "id": f"m{i}", "sum": 100 + i, "code": OK, "offset": i}]
    for number, group in enumerate("gh"):
        n = 2 * i + number
        events.append({"e": "recv", "s": (at + 2) * MS, "t": (at + 3) * MS, "n": n, "group": group, "topic": topic, "id": f"m{i}", "queue": 0,
                       "offset": i, "attempt": 1, "sum": 100 + i, "stored": at, "inv": 4000})
        events.append({"e": "ack", "s": (at + 4) * MS, "t": (at + 5) * MS, "n": n, "code": OK})
    return events


def history(topic="T"):
    events = []
    for i in range(10):
        events += message(i, 100 * i + (300 if i >= 9 else 0), topic)  # 0 to 8 before the kill, 9 behind it
    return events


def again(events, n, at, **changes):
    """One more delivery of delivery n's message."""
    d = copy.deepcopy(next(e for e in events if e["e"] == "recv" and e["n"] == n))
    d.update({"n": 1000 + n, "s": (at - 1) * MS, "t": at * MS, "attempt": 2}, **changes)
    events.append(d)
    return d


class CheckerTest(unittest.TestCase):
    def kinds(self, events, setting=SETTING, servers=None):
        return sorted(Check(events, servers or server(), setting).violations)

    def test_a_good_history_passes(self):
        self.assertEqual(self.kinds(history()), [])

    def test_a_message_that_one_group_never_got_is_lost(self):
        events = [e for e in history() if not (e["e"] in ("recv", "ack") and e["n"] == 7)]
        self.assertEqual(self.kinds(events), ["lost"])

    def test_a_message_that_nobody_got_is_lost(self):
        events = [e for e in history() if not (e["e"] in ("recv", "ack") and e["n"] in (6, 7))]
        self.assertEqual(self.kinds(events), ["lost"])

    def test_an_async_message_is_lost_too_unless_the_power_was(self):
        events = [e for e in history("A") if not (e["e"] in ("recv", "ack") and e["n"] in (6, 7))]
        self.assertEqual(self.kinds(events), ["lost"])
        self.assertEqual(self.kinds(events, Setting(**{**vars(SETTING), "power_loss": True})), [])

    def test_delivery_from_another_place_than_the_sender_was_told_is_loss(self):
        events = history()
        for e in events:
            if e["e"] == "recv" and e["id"] == "m9":
                e["offset"] = 12
        self.assertIn("lost", self.kinds(events))

    def test_a_message_that_stays_unacknowledged_and_never_returns_is_lost(self):
        events = [e for e in history() if not (e["e"] == "ack" and e["n"] == 5)]
        self.assertEqual(self.kinds(events), ["lost"])

    def test_an_unknown_message_is_invented(self):
        events = [e for e in history() if not (e["e"] == "send" and e["id"] == "m3")]
        self.assertIn("invented", self.kinds(events))

    def test_changed_content_is_invented(self):
        events = history()
        next(e for e in events if e["e"] == "recv" and e["n"] == 8)["sum"] += 1
        self.assertEqual(self.kinds(events), ["invented"])

    def test_one_offset_for_two_messages_is_reuse(self):
        events = history()
        for e in events:
            if e["e"] in ("send", "recv") and e["id"] == "m9":
                e["offset"] = 8
        self.assertIn("offset reused", self.kinds(events))

    def test_a_later_send_with_a_lower_offset_is_reordered(self):
        events = history()
        for e in events:
            if e["e"] in ("send", "recv") and e["id"] in ("m3", "m4"):
                e["offset"] = 7 - e["offset"]
        self.assertIn("reordered", self.kinds(events))

    def test_a_queue_seen_backwards_is_reordered(self):
        events = history()
        first, second = (next(e for e in events if e["e"] == "recv" and e["n"] == n) for n in (6, 8))
        first["s"], second["s"] = second["s"], first["s"]
        first["t"], second["t"] = second["t"], first["t"]
        check = Check(events, server(), SETTING)
        self.assertIn("reordered", check.violations)

    def test_store_times_that_go_back_are_reordered(self):
        events = history()
        for e in events:
            if e["e"] == "recv" and e["id"] == "m5":
                e["stored"] -= 300
        self.assertEqual(self.kinds(events), ["reordered"])

    def test_an_acknowledged_message_that_returns_in_calm_weather_was_undone(self):
        events = history()
        again(events, 2, at=900)
        self.assertIn("acknowledgement undone", self.kinds(events))

    def test_an_old_acknowledgement_that_a_kill_takes_back_was_undone(self):
        events = history()
        again(events, 2, at=1200)  # acknowledged at 105 ms, killed at 1000
        self.assertIn("acknowledgement undone", self.kinds(events))

    def test_an_acknowledgement_inside_the_window_may_be_taken_back_but_not_with_interval_zero(self):
        events = history()
        again(events, 16, at=5000)  # acknowledged at 805 ms, 195 before the kill
        self.assertEqual(self.kinds(events), [])
        self.assertEqual(self.kinds(events, Setting(**{**vars(SETTING), "window_ms": 0})), ["acknowledgement undone"])

    def test_a_redelivery_before_its_time_is_found(self):
        events = [e for e in history() if not (e["e"] == "ack" and e["n"] == 2)]
        again(events, 2, at=900)
        events.append({"e": "ack", "s": 901 * MS, "t": 902 * MS, "n": 1002, "code": OK})
        self.assertEqual(self.kinds(events), ["redelivery"])

    def test_a_redelivery_that_a_change_asked_for_is_fine(self):
        events = [e for e in history() if not (e["e"] == "ack" and e["n"] == 2)]
        events.append({"e": "change", "s": 105 * MS, "t": 106 * MS, "n": 2, "inv": 500, "code": OK})
        again(events, 2, at=700)
        events.append({"e": "ack", "s": 701 * MS, "t": 702 * MS, "n": 1002, "code": OK})
        self.assertEqual(self.kinds(events), [])

    def test_a_redelivery_with_the_same_attempt_is_found(self):
        events = [e for e in history() if not (e["e"] == "ack" and e["n"] == 2)]
        again(events, 2, at=4200, attempt=1)
        events.append({"e": "ack", "s": 4201 * MS, "t": 4202 * MS, "n": 1002, "code": OK})
        self.assertEqual(self.kinds(events, servers=[{"e": "start", "t": 0}]), ["redelivery"])

    def test_two_copies_of_a_message_sent_once_are_found_and_counted_when_sent_twice(self):
        events = history()
        for n in (18, 19):
            again(events, n, at=1500 + n, offset=10, attempt=1, stored=1500)
            events.append({"e": "ack", "s": 1600 * MS, "t": 1601 * MS, "n": 1000 + n, "code": OK})
        self.assertEqual(self.kinds(events), ["copies"])
        events.append({"e": "send", "s": 1150 * MS, "t": 1160 * MS, "topic": "T", "id": "m9", "sum": 109, "code": -14, "offset": -1})
        check = Check(events, server(), SETTING)
        self.assertEqual(dict(check.violations), {})
        self.assertEqual(check.counts["messages stored twice by a repeated send"], 1)


if __name__ == "__main__":
    unittest.main()
