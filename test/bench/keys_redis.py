"""A cache by hand: documents of tenants in Redis, which the application deletes when it has written.

keys_redis.py DSN SOCKET READS-A-SECOND WRITES-A-SECOND SECONDS TENANTS QUERY

Four readers ask for random tenants, compute what Redis does not have and store it there; one writer changes a row of
tenant 8 and deletes its key after the commit.  Prints reads, hits, ms of a read and ms of a write.  What a reader
computed before a commit and stores after the delete stays wrong: nothing here prevents that, nor looks for it.
"""

import random
import socket
import sys
import threading
import time

import psycopg2

dsn, path, reads_a_second, writes_a_second, seconds, tenants, query = sys.argv[1:]
seconds, tenants, query = float(seconds), int(tenants), f"SELECT row_to_json(q)::text FROM ({query}) q"
READERS = 4


class Redis:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.answers = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        line = self.answers.readline()
        assert line[:1] in b"+:$", line
        if line[:1] != b"$":
            return line
        length = int(line[1:])
        return None if length < 0 else self.answers.read(length + 2)[:-2]


def connect():
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    return connection.cursor()


def compute(cursor, tenant):
    cursor.execute(query.replace("%s", str(tenant)))
    return cursor.fetchone()[0].encode()


def read(cursor, redis, tenant):
    """True if it was there."""
    document = redis("GET", tenant)
    if document is None:
        redis("SET", tenant, compute(cursor, tenant))
    return document is not None


def write(cursor, redis):
    cursor.execute("UPDATE tasks_redis SET n = n + 1 WHERE id = 7")
    redis("DEL", 8)


def at_rate(rate, act, done):
    """act() at random times until the end; what it returns, and ms since it was due, to done."""
    due = time.monotonic()
    while (due := due + random.expovariate(rate)) < end:
        time.sleep(max(0, due - time.monotonic()))
        done.append((act(), 1000 * (time.monotonic() - due)))


cursors = [(connect(), Redis()) for _ in range(READERS + 1)]
for tenant in range(1, tenants + 1):
    cursors[0][1]("SET", tenant, compute(cursors[0][0], tenant))
reads, writes = [], []
end = time.monotonic() + seconds
threads = [
    threading.Thread(target=at_rate, args=(float(reads_a_second) / READERS, lambda c=c: read(*c, random.randint(1, tenants)), reads))
    for c in cursors[1:]
]
threads.append(threading.Thread(target=at_rate, args=(float(writes_a_second), lambda: write(*cursors[0]), writes)))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(
    len(reads),
    sum(hit for hit, _ in reads),
    *(round(sum(ms for _, ms in done) / max(len(done), 1), 3) for done in (reads, writes)),
)
