"""The main job on real input: this repository's own files, sent by one official client and received
byte-equal by another in a different language."""
import pathlib
import subprocess

from context import check, receive_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
MAX_BODY = 4 * 1024 * 1024 - 8 * 1024
SECONDS = 120


def files():
    """Every tracked file that a message can carry: no client sends an empty body."""
    listed = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, check=True).stdout
    paths = [REPOSITORY / name.decode() for name in listed.split(b"\0") if name]
    bodies = {str(p.relative_to(REPOSITORY)): p.read_bytes() for p in paths if p.is_file()}
    return {name: body for name, body in bodies.items() if 0 < len(body) <= MAX_BODY}


def run(c, sender, receiver):
    topic, group = c.topic(), c.group()
    content = files()
    check(len(content) > 0, "git lists no files")
    producer = c.producer(topic, agent=c.pool.shared(sender))
    calls = []
    for name, body in content.items():
        calls.append(producer.submit(topic, body, keys=[name], properties={"path": name}))
        if len(calls) >= 8:
            calls.pop(0).result(60)
    for call in calls:
        call.result(60)
    consumer = c.simple(group, topic, agent=c.pool.shared(receiver))
    wanted = set(content)
    seen = receive_until(consumer, lambda seen: wanted <= {m.properties.get("path") for m in seen}, SECONDS)
    for message in seen:
        path = message.properties["path"]
        check(message.properties == {"path": path}, f"{path} came with the properties {message.properties}")
        check(message.body == content[path], f"{path} differs")
        check(message.keys == [path], f"{path} came with the keys {message.keys}")
    c.note = f"{len(content)} files, {sum(map(len, content.values()))} bytes"


def pairs(languages, every):
    """Ordered pairs of different languages: a ring in which each sends once and receives once, or all of them."""
    if every:
        return [(a, b) for a in languages for b in languages if a != b]
    if len(languages) < 2:
        return []
    return [(a, languages[(i + 1) % len(languages)]) for i, a in enumerate(languages)]
