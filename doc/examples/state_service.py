#!/usr/bin/python3
"""GET /state/summary and /projects/42/summary over HTTP, from summary_cache.  Explained in doc/http.md.

Needs FastAPI, asyncpg and uvicorn; on Debian 12 and later and on Ubuntu 24.04:

    apt-get install python3-fastapi python3-asyncpg python3-uvicorn

    GET /state/summary            the document; conditional by ETag and If-None-Match; HEAD too; compressed
                                  as Accept-Encoding asks for it, if the database has that form
    GET /state/summary?v=ETAG     the same, at an address where caches store only that document
    GET /state/summary?refresh=1  built anew; needs "Authorization: Bearer $REFRESH_TOKEN", else 403
    GET /projects/42/summary      the document of a summary with one parameter, for the value 42: likewise,
                                  with v and refresh; 400 for a value that is none, 404 without the summary
    GET /state/events             Server-Sent Events: the etag, at once and whenever it changes
    GET /                         state_page.html, if it is beside this file: the summary as a live page
    GET /healthz                  200 while the database answers, else 503

Settings, all from the environment:

    DATABASE_URL         postgresql://...; not set: libpq's PGHOST, PGPORT, PGDATABASE, PGUSER, ...
    EVENTS_DATABASE_URL  the same past a pooler, for LISTEN                      DATABASE_URL
    STATEMENT_CACHE      prepared statements kept per connection; 0 behind
                         a pooler in transaction mode                            100
    POOL_SIZE            connections to the database, besides the one for LISTEN 10
    CONNECT_TIMEOUT      seconds to get a connection, new or from the pool       3
    COMMAND_TIMEOUT      seconds for a statement: more than the longest build    30
    SUMMARY              name of the summary                                     state
    PROJECT_SUMMARY      name of the summary with one parameter                  project
    CACHE_CONTROL        of answers      private, max-age=5, stale-while-revalidate=10
    REFRESH_TOKEN        clients that send it may force a build; not set: none may
    EVENTS_POLL          seconds between two reads of the etag without a NOTIFY  15
    KEEP_ALIVE           seconds between comments in a silent event stream       15
    MAX_STREAMS          event streams at a time, of all clients together        1000
    REQUEST_TIMEOUT      seconds for a client to send a request                  10
    HOST, PORT           where to listen                                         127.0.0.1, 8000
    UNIX_SOCKET          listen there instead
"""

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
import pathlib
import random
import re
import secrets
import socket
from collections.abc import AsyncIterator

import asyncpg
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

DATABASE_URL = os.environ.get("DATABASE_URL")
EVENTS_DATABASE_URL = os.environ.get("EVENTS_DATABASE_URL", DATABASE_URL)
STATEMENT_CACHE = int(os.environ.get("STATEMENT_CACHE", "100"))
POOL_SIZE = int(os.environ.get("POOL_SIZE", "10"))
CONNECT_TIMEOUT = float(os.environ.get("CONNECT_TIMEOUT", "3"))
COMMAND_TIMEOUT = float(os.environ.get("COMMAND_TIMEOUT", "30"))
SUMMARY = os.environ.get("SUMMARY", "state")
PROJECT_SUMMARY = os.environ.get("PROJECT_SUMMARY", "project")
CACHE_CONTROL = os.environ.get("CACHE_CONTROL", "private, max-age=5, stale-while-revalidate=10")
REFRESH_TOKEN = os.environ.get("REFRESH_TOKEN", "")
EVENTS_POLL = float(os.environ.get("EVENTS_POLL", "15"))
KEEP_ALIVE = float(os.environ.get("KEEP_ALIVE", "15"))
MAX_STREAMS = int(os.environ.get("MAX_STREAMS", "1000"))
REQUEST_TIMEOUT = float(os.environ.get("REQUEST_TIMEOUT", "10"))
HOST = os.environ.get("HOST", "127.0.0.1")
PORT = int(os.environ.get("PORT", "8000"))
UNIX_SOCKET = os.environ.get("UNIX_SOCKET")
RETRY_AFTER = "2"  # seconds, sent to clients with each 503
BACKOFF = 0.5, 10.0  # seconds, first and longest, between tries to LISTEN

# $1 summary, $2 the encodings that the client takes, $3 the etags for which there is no body, $4
# whether to force, $5 values for the summary's parameters, NULL if it has none.  The bytes are sent as they come: nothing here parses or compresses them.  A document
# that is proven current has age 0, however long ago it was built.  Other ages are by the database's clock,
# which also set stale_since.
FETCH = """
    SELECT status, etag, built_at, encoding, body,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - stale_since), 0), 0)::int AS age
      FROM summary_cache_fetch_encoded($1, $2, $3, $4, $5)"""
FETCH_ETAG = "SELECT etag FROM summary_cache_fetch_encoded($1, '', $2)"
IN_RECOVERY = "SELECT pg_is_in_recovery()"

# The forms that the database may have of a document, the smaller first.
ENCODINGS = ("zstd", "gzip")

# The words that RFC 9211 has for these
CACHE_STATUS = {
    "hit-revision": "hit",
    "stale": "hit",
    "progress-section": "fwd=partial",
    "miss": "fwd=miss",
    "private": "fwd=bypass",
}

# The database cannot be reached, is going down or coming up, or is too busy: this will pass.
# Time-outs are OSErrors.
UNAVAILABLE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,  # the query conflicted with a standby's replay
)

log = logging.getLogger("uvicorn.error")


class Feed:
    """Follows the summary's etag on one connection, for any number of event streams.

    A NOTIFY only rings the bell; the etag is then read.  Every role can send one, so its payload is
    not trusted.  A NOTIFY that was missed while the database was away does not matter, and an etag
    that is read later is newer.  Only the newest etag is kept: a slow client skips some.
    """

    def __init__(self) -> None:
        self.etag: str | None = None
        self.clients = 0
        self._closed = False
        self._backoff = BACKOFF[0]
        self._bell = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow, and start over whenever that ends or fails."""
        while True:
            try:
                await self._follow()
            except Exception as error:
                pause = self._backoff * random.uniform(0.5, 1)
                log.warning("events: %s: %s; next try in %.1f s", type(error).__name__, error, pause)
                await asyncio.sleep(pause)
                self._backoff = min(self._backoff * 2, BACKOFF[1])

    async def _follow(self) -> None:
        connection = await asyncpg.connect(
            EVENTS_DATABASE_URL,
            timeout=CONNECT_TIMEOUT,
            command_timeout=COMMAND_TIMEOUT,
            server_settings={"application_name": "state_service events"},
        )
        try:
            connection.add_termination_listener(self._ring)
            # A standby refuses LISTEN.  Once it is promoted, return for a connection that listens.
            standby = await connection.fetchval(IN_RECOVERY)
            if not standby:
                await connection.add_listener("summary_cache", self._ring)
            while not standby or await connection.fetchval(IN_RECOVERY):
                self._bell.clear()
                self._tell(await connection.fetchval(FETCH_ETAG, SUMMARY, self.etag))
                self._backoff = BACKOFF[0]
                # Read on behalf of the clients that wait for changes: without eager_refresh there
                # may be no other reader.  This also finds a connection that died silently.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), EVENTS_POLL if self.clients else None)
        finally:
            connection.terminate()

    def _ring(self, *_: object) -> None:
        self._bell.set()

    def _tell(self, etag: str) -> None:
        if etag != self.etag:
            self.etag = etag
            self._changed.set()
            self._changed = asyncio.Event()

    def close(self) -> None:
        """End all streams: the server waits for them when it stops."""
        self._closed = True
        self._changed.set()

    async def stream(self, told: str | None) -> AsyncIterator[str]:
        """Events for one client; told is the etag that it was sent last."""
        self._ring()
        yield "retry: 2000\n\n"
        while not self._closed:
            if self.etag not in (None, told):
                told = self.etag
                yield f'id: {told}\nevent: summary\ndata: {{"etag": "{told}"}}\n\n'
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), KEEP_ALIVE)
            except TimeoutError:
                yield ": keep-alive\n\n"


feed = Feed()
app = FastAPI(openapi_url=None)
# /state/summary/ would be redirected to the host that the request names: to any.
app.router.redirect_slashes = False


async def query(sql: str, *arguments: object) -> asyncpg.Record:
    """One row from the database, or 503."""
    try:
        async with app.state.pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            return await connection.fetchrow(sql, *arguments)
    except UNAVAILABLE as error:
        log.warning("database: %s: %s", type(error).__name__, error)
        raise HTTPException(503, "the database is not available", {"Retry-After": RETRY_AFTER}) from error


def known_etags(request: Request) -> list[str]:
    """The tags that If-None-Match lists (weak comparison, RFC 9110 section 8.8.3.2), or '*'.

    That of a compressed form has its encoding behind it.
    """
    header = ",".join(request.headers.getlist("if-none-match"))
    if header.strip() == "*":
        return ["*"]
    # a tag of another form is not one of ours, and '"*"' is not '*'
    return [tag for tag in re.findall(r'"([^"]*)"', header) if re.fullmatch("[0-9a-f]{32}(-[a-z]+)?", tag)]


def accepted_encodings(request: Request) -> list[str]:
    """What Accept-Encoding accepts (RFC 9110 section 12.5.3), the preferred one first.

    Of equal weights the smaller form, and the document itself, "identity", last of all.  That is always
    acceptable, unless it is excluded by name or by "*".
    """
    weights: dict[str, float] = {}
    for item in ",".join(request.headers.getlist("accept-encoding")).split(","):
        name, _, parameter = item.partition(";")
        quality = re.fullmatch(r"[ \t]*[qQ]=(0(\.\d{0,3})?|1(\.0{0,3})?)[ \t]*", parameter)
        if parameter and quality is None:
            continue  # what is not understood is not accepted
        name = name.strip().lower()
        weights["gzip" if name == "x-gzip" else name] = float(quality[1]) if quality else 1.0
    anything = weights.get("*", 0.0)
    # an identity that nobody has named counts as the least that is acceptable
    weight = {name: weights.get(name, anything) for name in ENCODINGS}
    weight["identity"] = weights.get("identity", 0.0 if weights.get("*") == 0 else 0.0001)
    return sorted((name for name in weight if weight[name] > 0), key=weight.__getitem__, reverse=True)


def may_refresh(request: Request) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    right = secrets.compare_digest(token.strip().encode(), REFRESH_TOKEN.encode())
    return right and scheme.lower() == "bearer" and REFRESH_TOKEN != ""


async def answer(request: Request, name: str, values: list[str] | None, refresh: bool, v: str | None) -> Response:
    if refresh and not may_refresh(request):
        raise HTTPException(403, "refresh needs the token")
    accepted = accepted_encodings(request)
    # before the document itself: what comes after it would never be taken
    encodings = accepted[: accepted.index("identity")] if "identity" in accepted else accepted
    known = ",".join(known_etags(request)) or None
    row = await query(FETCH, name, ",".join(encodings), known, refresh, values)
    if row["body"] is not None and row["encoding"] is None and "identity" not in accepted:
        raise HTTPException(406, "there is no form that is acceptable", {"Vary": "Accept-Encoding"})
    # What a cache has for an address with an etag is that document.  Otherwise, when old content comes
    # back and is announced by its etag, the address might have a document from in between.
    may_be_stored = not refresh and v in (None, row["etag"].partition("-")[0])
    headers = {
        "ETag": f'"{row["etag"]}"',
        "Age": str(row["age"]),
        "Cache-Control": CACHE_CONTROL if may_be_stored else "no-store",
        "Cache-Status": f'summary_cache; {CACHE_STATUS[row["status"]]}; detail={row["status"]}',
        "Vary": "Accept-Encoding",
        "X-Summary-Built-At": row["built_at"].isoformat(),
    }
    if row["body"] is None:
        return Response(status_code=304, headers=headers)
    if row["encoding"]:
        headers["Content-Encoding"] = row["encoding"]
    return Response(row["body"], media_type="application/json", headers=headers)


@app.api_route("/state/summary", methods=["GET", "HEAD"])
async def summary(request: Request, refresh: bool = False, v: str | None = None) -> Response:
    return await answer(request, SUMMARY, None, refresh, v)


@app.api_route("/projects/{project}/summary", methods=["GET", "HEAD"])
async def project_summary(request: Request, project: str, refresh: bool = False, v: str | None = None) -> Response:
    """The value goes to the database as it is: what is one, the type of the parameter decides."""
    if "\0" in project:
        raise HTTPException(400, "no text of the database has such a character")
    try:
        return await answer(request, PROJECT_SUMMARY, [project], refresh, v)
    except asyncpg.DataError as error:
        # a query may fail in the same way, which is no fault of the client's
        if not (error.context or "").startswith('parameter "'):
            raise
        raise HTTPException(400, "there is no such value") from error
    except asyncpg.UndefinedObjectError as error:
        if error.message != f'summary "{PROJECT_SUMMARY}" is not defined':
            raise
        raise HTTPException(404, "there is no such summary") from error


class EventStream(StreamingResponse):
    """A stream that counts, or 503.

    It is counted here, since this ends whenever the client goes, also before the first event.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if feed.clients >= MAX_STREAMS:
            full = Response("too many event streams\n", 503, {"Retry-After": RETRY_AFTER}, "text/plain")
            return await full(scope, receive, send)
        feed.clients += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            feed.clients -= 1


def page_headers(page: bytes) -> dict[str, str]:
    """The page may run its own style and script, which are named by their hashes, and ask this service."""

    def own(element: bytes) -> str:
        texts = re.findall(b"<%b>(.*?)</%b>" % (element, element), page, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in texts)

    policy = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "script-src": own(b"script"),
        "style-src": own(b"style"),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return {
        "ETag": f'"{hashlib.sha256(page).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


# Without the file there is no page, and the service is complete.
with contextlib.suppress(FileNotFoundError):
    PAGE = pathlib.Path(__file__).with_name("state_page.html").read_bytes()
    PAGE_HEADERS = page_headers(PAGE)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        known = known_etags(request)
        if "*" in known or PAGE_HEADERS["ETag"].strip('"') in known:
            return Response(status_code=304, headers=PAGE_HEADERS)
        return Response(PAGE, media_type="text/html", headers=PAGE_HEADERS)


@app.get("/state/events")
async def events(request: Request) -> StreamingResponse:
    return EventStream(
        feed.stream(request.headers.get("last-event-id")),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@app.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> Response:
    await query("SELECT 1")
    return Response("ok\n", media_type="text/plain", headers={"Cache-Control": "no-store"})


class ErrorsAreNotStored:
    """Marks each error as no-store, also those that the framework answers with (404, 405, 422, 500).

    A cache may store a 404 or a 405 that does not say so.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                MutableHeaders(scope=message)["Cache-Control"] = "no-store"
            await send(message)

        await self.inner(scope, receive, send_marked)


class Connection(AutoHTTPProtocol):
    """uvicorn's, with what that lacks: a time limit for requests, and no-store with its own error."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.deadline = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT, self.close_if_waiting)

    def on_response_complete(self) -> None:
        self.deadline.cancel()
        self.deadline = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT, self.close_if_waiting)
        super().on_response_complete()

    def connection_lost(self, error: Exception | None) -> None:
        self.deadline.cancel()
        super().connection_lost(error)

    def close_if_waiting(self) -> None:
        """Close, unless a request is being answered: of the next one the header is not complete."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def send_400_response(self, message: str) -> None:
        head = "HTTP/1.1 400 Bad Request", "Cache-Control: no-store", "Connection: close", "Content-Length: 0"
        self.transport.write("\r\n".join((*head, "", "")).encode())
        self.transport.close()


class Server(uvicorn.Server):
    """Stops with event streams open, and with clients that do not read."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        feed.close()
        # no request takes longer
        timeout = CONNECT_TIMEOUT + COMMAND_TIMEOUT
        asyncio.get_running_loop().call_later(timeout, setattr, self, "force_exit", True)
        await super().shutdown(sockets)


class Stateless(asyncpg.Connection):
    """A connection that no request leaves anything on: without the statement by which the pool resets it."""

    async def reset(self, *, timeout: float | None = None) -> None:
        if self.is_in_transaction():
            await super().reset(timeout=timeout)


async def main() -> None:
    # no connection at first, so that the service also starts without the database
    app.state.pool = await asyncpg.create_pool(
        DATABASE_URL,
        min_size=0,
        max_size=POOL_SIZE,
        timeout=CONNECT_TIMEOUT,
        command_timeout=COMMAND_TIMEOUT,
        statement_cache_size=STATEMENT_CACHE,
        connection_class=Stateless,
        server_settings={"application_name": "state_service"},
    )
    following = asyncio.create_task(feed.run())
    config = uvicorn.Config(
        ErrorsAreNotStored(app), host=HOST, port=PORT, uds=UNIX_SOCKET, http=Connection, ws="none"
    )
    await Server(config).serve()
    following.cancel()
    app.state.pool.terminate()


if __name__ == "__main__":
    asyncio.run(main())
