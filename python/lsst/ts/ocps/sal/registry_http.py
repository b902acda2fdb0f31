"""The client of a Confluent-compatible schema registry over HTTP (sal-on-kafka section 4)."""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry

from .avro import ParsedSchema, parse_schema
from .errors import DecodeError, RegistryError, SchemaNotFoundError, SchemaRefusedError
from .kafka_security import make_registry_context
from .registry import MAX_EARLIER, RegisteredSchema, SchemaRegistry

__all__ = ["HttpSchemaRegistry"]

_log = logging.getLogger(__name__)

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"

_REQUEST_TIMEOUT = 10.0
"""Longest wait for one answer (s)."""

_READ_TIMEOUT = 5.0
"""Longest time that a reader waits for the schema of an id, repetitions included (s)."""

_ASK_AGAIN_AFTER = 5.0
"""An id that could not be had is asked for again after this time (s)."""

_LOST_RACE = "already exists"
"""So Apicurio Registry words the 409 of a process that registered a schema while another did; the 409 of an
incompatible schema has the same code."""

_MAX_FAILURES = 1000
"""So many ids that could not be had are remembered."""


class _TransientError(RegistryError):
    """The registry may answer better soon."""


class _Failure(NamedTuple):
    ask_again: float
    """When to ask again (monotonic s)."""

    error: RegistryError
    """What to raise until then."""


class HttpSchemaRegistry(SchemaRegistry):
    """A registry reached over HTTP.

    Parameters
    ----------
    url
        Its address, without credentials.
    timeout
        How long transient failures (no connection, no answer, 429, 5xx) are repeated (s).
    ca_file
        Authorities that an https registry must be known to; None: those of the system.
    """

    def __init__(self, url: str, *, timeout: float, ca_file: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._ca_file = ca_file
        self._client: httpx.AsyncClient | None = None
        self._client_lock = asyncio.Lock()
        self._schemas: dict[int, ParsedSchema] = {}
        self._failures: dict[int, _Failure] = {}
        """Ids that could not be had."""

        self._ask_anew_after: dict[int, float] = {}
        """When the schema of an id may be asked for anew (monotonic s); only of ids that were known."""

        self._outage: _Failure | None = None
        """Set while the registry does not answer: readers then do not wait for it again and again."""

        self._load_lock = asyncio.Lock()

    @override
    async def register(self, subject: str, schema_text: str) -> int:
        path = f"/subjects/{quote(subject, safe='')}/versions?normalize=False"
        body = {"schema": schema_text, "schemaType": "AVRO", "references": []}
        answer = await self._ask("POST", path, f"register the schema of {subject}", body)
        if answer is None:
            raise RegistryError(f"schema registry {self._url}: POST {path} is unknown there (404)")
        return self._get_int(answer, "id", path)

    @override
    async def schema(self, schema_id: int) -> ParsedSchema:
        if schema_id in self._schemas:
            return self._schemas[schema_id]
        async with self._load_lock:
            if schema_id not in self._schemas:
                await self._load(schema_id)
        return self._schemas[schema_id]

    @override
    def known_schema(self, schema_id: int) -> ParsedSchema | None:
        return self._schemas.get(schema_id)

    @override
    async def schema_anew(self, schema_id: int) -> ParsedSchema:
        now = time.monotonic()
        if now >= self._ask_anew_after.get(schema_id, 0.0):
            self._ask_anew_after[schema_id] = now + _ASK_AGAIN_AFTER
            self._schemas.pop(schema_id, None)
        return await self.schema(schema_id)

    async def _load(self, schema_id: int) -> None:
        for failure in (self._outage, self._failures.get(schema_id)):
            if failure is not None and time.monotonic() < failure.ask_again:
                raise type(failure.error)(*failure.error.args)
        try:
            self._schemas[schema_id] = await self._fetch(schema_id)
        except RegistryError as error:
            new = _Failure(time.monotonic() + _ASK_AGAIN_AFTER, error)
            if isinstance(error, _TransientError):
                self._outage = new
            else:
                self._failures[schema_id] = new
                if len(self._failures) > _MAX_FAILURES:
                    self._failures.pop(next(iter(self._failures)))
            raise
        self._outage = None
        self._failures.pop(schema_id, None)

    async def _fetch(self, schema_id: int) -> ParsedSchema:
        path = f"/schemas/ids/{schema_id}"
        budget = min(_READ_TIMEOUT, self._timeout)
        answer = await self._ask("GET", path, f"read schema {schema_id}", budget=budget)
        if answer is None:
            raise SchemaNotFoundError(f"schema registry {self._url} knows no schema {schema_id}")
        try:
            return await asyncio.to_thread(parse_schema, self._get_text(answer, "schema", path))
        except DecodeError as error:
            raise RegistryError(f"schema registry {self._url}: schema {schema_id}: {error}") from error

    @override
    async def latest(self, subject: str) -> RegisteredSchema | None:
        return await self._read_version(subject, "latest")

    async def _read_version(self, subject: str, version: int | str) -> RegisteredSchema | None:
        path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
        answer = await self._ask("GET", path, f"read the schema of {subject}, version {version},")
        if answer is None:
            return None
        return RegisteredSchema(self._get_int(answer, "id", path), self._get_text(answer, "schema", path))

    @override
    async def earlier(self, subject: str) -> AsyncGenerator[RegisteredSchema, None]:
        path = f"/subjects/{quote(subject, safe='')}/versions"
        numbers = await self._ask("GET", path, f"list the versions of {subject}") or []
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise RegistryError(f"schema registry {self._url}: {path}: no list of versions: {numbers!r:.200}")
        for number in sorted(numbers)[-2 : -2 - MAX_EARLIER : -1]:
            version = await self._read_version(subject, number)
            if version is not None:
                yield version

    @override
    def forget_schemas(self) -> None:
        self._schemas.clear()
        self._failures.clear()

    @override
    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _ask(
        self, method: str, path: str, purpose: str, body: Any = None, *, budget: float | None = None
    ) -> Any:
        """Send a request, again after transient failures; None if there is no such thing (404)."""
        deadline = Deadline(f"{purpose} at the schema registry", budget or self._timeout)

        async def attempt() -> Any:
            return await self._ask_once(method, path, body, min(_REQUEST_TIMEOUT, deadline.left()))

        try:
            return await retry(
                attempt,
                deadline=deadline,
                is_transient=lambda error: isinstance(error, _TransientError),
                log=_log,
            )
        except _TransientError as error:
            raise _TransientError(f"{error} (tried for {deadline.seconds:g} s)") from error

    async def _ask_once(self, method: str, path: str, body: Any, limit: float) -> Any:
        client = await self._get_client()
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "*/*"} | ({} if body is None else {"Content-Type": _CONTENT_TYPE})
        where = f"schema registry {self._url}: {method} {path}"
        try:
            async with asyncio.timeout(limit):
                response = await client.request(
                    method, self._url + path, content=content, headers=headers, timeout=limit
                )
        except TimeoutError as error:
            raise _TransientError(f"{where}: no answer within {limit:.1f} s") from error
        except httpx.TransportError as error:
            raise _TransientError(f"{where}: {str(error) or type(error).__name__}") from error
        return self._judge(response, where)

    def _judge(self, response: httpx.Response, where: str) -> Any:
        status = response.status_code
        if status == httpx.codes.NOT_FOUND:
            return None
        if status == httpx.codes.CONFLICT:
            refusal = _excerpt(response)
            kind = _TransientError if _LOST_RACE in refusal else SchemaRefusedError
            raise kind(f"{where}: {status} {refusal}")
        if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise _TransientError(f"{where}: {status} {_excerpt(response)}")
        if not response.is_success:
            raise RegistryError(f"{where}: {status} {_excerpt(response)}")
        try:
            return response.json()
        except ValueError as error:
            raise RegistryError(f"{where}: the answer is not JSON: {_excerpt(response)}") from error

    async def _get_client(self) -> httpx.AsyncClient:
        async with self._client_lock:
            if self._client is None:
                # Reading the CA bundle takes a while, and plain http does not need it.
                is_secure = self._url.startswith("https:")
                verify: ssl.SSLContext | bool = (
                    await asyncio.to_thread(make_registry_context, self._ca_file) if is_secure else False
                )
                self._client = httpx.AsyncClient(verify=verify, follow_redirects=False)
            return self._client

    def _get_int(self, answer: Any, key: str, path: str) -> int:
        value = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._miss(answer, key, path)
        return value

    def _get_text(self, answer: Any, key: str, path: str) -> str:
        value = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(value, str):
            raise self._miss(answer, key, path)
        return value

    def _miss(self, answer: Any, key: str, path: str) -> RegistryError:
        return RegistryError(
            f"schema registry {self._url}: {path}: no proper {key!r} in the answer {str(answer)[:200]}"
        )


def _excerpt(response: httpx.Response) -> str:
    """What a registry says about an error: its ``message``, or the beginning of the answer."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    message = answer.get("message") if isinstance(answer, dict) else None
    return str(message or response.text)[:300]
