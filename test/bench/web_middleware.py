"""The service of doc/http.md without the database's own forms; with GZIP_LEVEL, compressed in a middleware."""

import asyncio
import os

import state_service
from starlette.middleware.gzip import GZipMiddleware

state_service.ENCODINGS = ()
if level := os.environ.get("GZIP_LEVEL"):
    state_service.app.add_middleware(GZipMiddleware, compresslevel=int(level))
asyncio.run(state_service.main())
