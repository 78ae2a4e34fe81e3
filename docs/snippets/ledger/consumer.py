"""Payments that are booked exactly once, by consumers that may die at any moment.

    pip install rocketmq-python-client grpcio-tools
    python -m grpc_tools.protoc -I protos --python_out=. --grpc_python_out=. fulmar/ledger/v1/ledger.proto
    fulmarctl topic create payments && fulmarctl send payments 5 --key order-1
    python consumer.py 127.0.0.1:8081 127.0.0.1:8081 payments booking shop.db

The arguments: where the messages are, where the ledger is (the offset service, or the same standalone server), topic, group, database.
The key of a message is its business key, its body the amount. One database transaction holds three things: the effect, the business key,
and the ledger's fencing token. The ledger keeps consumers out of each other's way; the transaction makes it exactly once.
"""
import os
import random
import signal
import sqlite3
import sys
import time
import uuid

import grpc
from rocketmq import ClientConfiguration, Credentials, FilterExpression, SimpleConsumer

from fulmar.ledger.v1 import ledger_pb2 as pb
from fulmar.ledger.v1 import ledger_pb2_grpc

LEASE_SECONDS = int(os.environ.get("LEASE_SECONDS", "10"))
# Of the demonstration: slow, and dead at any step with this chance.
JITTER_SECONDS, DEATH = float(os.environ.get("JITTER_SECONDS", "0")), float(os.environ.get("DEATH", "0"))

SCHEMA = """
CREATE TABLE IF NOT EXISTS booked  (key TEXT PRIMARY KEY, token INTEGER NOT NULL);              -- business key and fencing token
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key TEXT NOT NULL, amount INTEGER); -- the effect: may not come twice
CREATE TABLE IF NOT EXISTS fences  (key TEXT PRIMARY KEY, token INTEGER NOT NULL);              -- the newest holder that the database met
"""


def maybe_die_here():
    time.sleep(random.random() * JITTER_SECONDS)
    if random.random() < DEATH:
        os.kill(os.getpid(), signal.SIGKILL)


def fence(database, key, token):
    """From here on the database refuses every older holder of the key. False: this is one."""
    with database:
        changed = database.execute("INSERT INTO fences VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET token = excluded.token"
                                   " WHERE excluded.token >= fences.token", (key, token)).rowcount
    return changed == 1


def book(database, key, token, amount):
    """The one transaction. True: the key is booked, now or before; False: a newer holder has taken over."""
    database.execute("BEGIN IMMEDIATE")
    with database:
        newest, = database.execute("SELECT token FROM fences WHERE key = ?", (key,)).fetchone()
        if newest > token:
            return False
        if database.execute("INSERT INTO booked VALUES (?, ?) ON CONFLICT DO NOTHING", (key, token)).rowcount == 1:
            maybe_die_here()
            database.execute("INSERT INTO entries (key, amount) VALUES (?, ?)", (key, amount))
    return True


def consume(ledger, database, group, key, amount):
    """True: the message is done."""
    holder = str(uuid.uuid4())  # of this attempt: another one, also in this process, has another
    begin = pb.BeginRequest(group=group, key=key, holder=holder)
    begin.lease.seconds = LEASE_SECONDS
    begun = ledger.Begin(begin, timeout=10)
    if begun.outcome == pb.BeginResponse.COMPLETED:
        return True
    if begun.outcome == pb.BeginResponse.HELD:
        return False  # the message comes again after its invisible time
    token = begun.entry.token
    maybe_die_here()
    if not fence(database, key, token):
        return False
    maybe_die_here()
    if not book(database, key, token, amount):
        return False
    maybe_die_here()
    # FAILED_PRECONDITION here: another one began after our lease. It finds the key booked, and completes.
    ledger.Complete(pb.CompleteRequest(group=group, key=key, token=token), timeout=10)
    maybe_die_here()
    return True


def main():
    messages, ledger_address, topic, group, path = sys.argv[1:6]
    database = sqlite3.connect(path, timeout=30, isolation_level=None)
    database.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
    ledger = ledger_pb2_grpc.LedgerServiceStub(grpc.insecure_channel(ledger_address))
    consumer = SimpleConsumer(ClientConfiguration(messages, Credentials()), group, {topic: FilterExpression("*")}, 5, tls_enable=False)
    consumer.startup()
    print("ready", flush=True)
    while True:
        try:
            for message in consumer.receive(4, int(os.environ.get("INVISIBLE_SECONDS", "30"))) or []:
                key = next(iter(message.keys))
                if consume(ledger, database, group, key, int(message.body)):
                    consumer.ack(message)
                    print("done", key, flush=True)
        except Exception as error:  # the server restarts, a message was given to somebody else: it comes again
            print("again after", error, flush=True)
            time.sleep(0.2)


if __name__ == "__main__":
    main()
