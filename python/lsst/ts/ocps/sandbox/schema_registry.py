"""The sandbox's schema registry: the part of the Confluent API that SAL clients use (sal-on-kafka section 4).

A development tool, never for production: one process, no login, no compatibility rules. Run it with
``python -m lsst.ts.ocps.sandbox.schema_registry --port 8081 --data registry.json``.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from lsst.ts.ocps.sal.avro import parse_schema
from lsst.ts.ocps.sal.errors import DecodeError
from lsst.ts.ocps.sal.registry import normalise

__all__ = ["RegistryStore", "create_app", "main"]


_HEADER = b'{"format": "schema registry of the sandbox, 1"}\n'
"""First line of the file."""


class _RegistryJson(JSONResponse):
    media_type = "application/vnd.schemaregistry.v1+json"


class _AnswerError(Exception):
    """An answer of the Confluent API that is no success."""

    status: ClassVar[int]
    code: ClassVar[int]


class _SubjectNotFoundError(_AnswerError):
    status, code = 404, 40401


class _VersionNotFoundError(_AnswerError):
    status, code = 404, 40402


class _SchemaNotFoundError(_AnswerError):
    status, code = 404, 40403


class _InvalidSchemaError(_AnswerError):
    status, code = 422, 42201


class _InvalidVersionError(_AnswerError):
    status, code = 422, 42202


class _SchemaBody(BaseModel):
    """Body of a registration or a lookup; other keys of the API are ignored."""

    model_config = ConfigDict(extra="ignore")

    schema_text: str
    schema_type: str = "AVRO"

    @classmethod
    async def from_request(cls, request: Request) -> "_SchemaBody":
        try:
            body = await request.json()
            parsed = cls(schema_text=body["schema"], schema_type=body.get("schemaType") or "AVRO")
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise _InvalidSchemaError(f"the body is not {{'schema': text}}: {error!r}") from error
        if parsed.schema_type != "AVRO":
            raise _InvalidSchemaError(f"schema type {parsed.schema_type} is not supported here, only AVRO")
        return parsed


class _Entry(BaseModel):
    """One line of the file: a registration that changed something."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    schema_id: int
    text: str | None = None
    """The schema, where it is new."""


class RegistryStore:
    """Schemas and subjects in one file, a line a registration, written before that is answered.

    Parameters
    ----------
    path
        The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schemas: list[str] = []
        """Texts; the id is the position, from 1 on."""

        self._subjects: dict[str, list[int]] = {}
        """Ids by subject, oldest version first."""

        self._ids: dict[str, int] = {}
        """By normalised text."""

        self._keys: dict[str, str] = {}
        """Normalised texts of registered ones, which need no further look."""

        self._lock = asyncio.Lock()

    def load(self) -> None:
        """Read the file; blocking.

        Raises
        ------
        ValueError
            If the file is not one of ours; names it.
        OSError
            If it cannot be read.
        """
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        # A line without an end was cut by a crash, and its registration never answered.
        whole = data[: data.rfind(b"\n") + 1]
        if data and not data.startswith(_HEADER[: len(data)]):
            raise ValueError(f"{self._path} is not a file of this schema registry")
        try:
            for line in whole.splitlines()[1:]:
                self._note(_Entry.model_validate_json(line))
        except (ValueError, IndexError) as error:
            raise ValueError(f"{self._path} is not a file of this schema registry: {error}") from error
        if len(whole) < len(data):
            os.truncate(self._path, len(whole))

    async def register(self, subject: str, text: str) -> int:
        """Give a schema an id, the same as ever, and the subject a version.

        Parameters
        ----------
        subject
            Name of the subject.
        text
            The schema as JSON text.
        """
        key = await self._check(text)
        async with self._lock:
            schema_id = self._ids.get(key, len(self._schemas) + 1)
            if schema_id not in self._subjects.get(subject, ()):
                entry = _Entry(subject=subject, schema_id=schema_id, text=None if key in self._ids else text)
                await asyncio.to_thread(self._append, entry)
                self._note(entry)
            self._keys[text] = key
            return schema_id

    async def look_up(self, subject: str, text: str) -> dict[str, Any]:
        """The version of a subject that has a schema.

        Parameters
        ----------
        subject
            Name of the subject.
        text
            The schema as JSON text.
        """
        versions = self._versions(subject)
        schema_id = self._ids.get(await self._check(text))
        if schema_id not in versions:
            raise _SchemaNotFoundError(f"Subject {subject!r} does not have this schema")
        return self._describe(subject, versions.index(schema_id) + 1)

    def get_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id.

        Parameters
        ----------
        schema_id
            The id.
        """
        if not 1 <= schema_id <= len(self._schemas):
            raise _SchemaNotFoundError(f"Schema {schema_id} not found")
        return {"schema": self._schemas[schema_id - 1]}

    def get_version(self, subject: str, version: str) -> dict[str, Any]:
        """A version of a subject.

        Parameters
        ----------
        subject
            Name of the subject.
        version
            A number from 1 on, or ``latest``.
        """
        count = len(self._versions(subject))
        if version != "latest" and not version.isdigit():
            raise _InvalidVersionError(f"{version!r} is neither a version number nor 'latest'")
        number = count if version == "latest" else int(version)
        if not 1 <= number <= count:
            raise _VersionNotFoundError(f"Subject {subject!r} has no version {number}")
        return self._describe(subject, number)

    def list_versions(self, subject: str) -> list[int]:
        """Version numbers of a subject.

        Parameters
        ----------
        subject
            Name of the subject.
        """
        return list(range(1, len(self._versions(subject)) + 1))

    def list_subjects(self) -> list[str]:
        """Names of all subjects, sorted."""
        return sorted(self._subjects)

    def _versions(self, subject: str) -> list[int]:
        if subject not in self._subjects:
            raise _SubjectNotFoundError(f"Subject {subject!r} not found")
        return self._subjects[subject]

    def _describe(self, subject: str, version: int) -> dict[str, Any]:
        schema_id = self._subjects[subject][version - 1]
        return {"subject": subject, "version": version, "id": schema_id, **self.get_schema(schema_id)}

    def _note(self, entry: _Entry) -> None:
        if entry.text is not None:
            self._schemas.append(entry.text)
            self._ids[normalise(entry.text)] = len(self._schemas)
        if not 1 <= entry.schema_id <= len(self._schemas):
            raise IndexError(f"there is no schema {entry.schema_id}")
        self._subjects.setdefault(entry.subject, []).append(entry.schema_id)

    async def _check(self, text: str) -> str:
        """The normalised text of a proper Avro schema."""
        if text in self._keys:
            return self._keys[text]
        try:
            await asyncio.to_thread(parse_schema, text)
        except DecodeError as error:
            raise _InvalidSchemaError(f"Invalid schema: {error}") from error
        return normalise(text)

    def _append(self, entry: _Entry) -> None:
        """Write one line, and wait until the disk has it; what does not fit there is taken away again."""
        line = entry.model_dump_json(exclude_none=True).encode() + b"\n"
        with self._path.open("ab", buffering=0) as stream:
            start = stream.tell()
            try:
                stream.write(line if start else _HEADER + line)
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(start)
                raise


def create_app(path: Path) -> FastAPI:
    """Make the web application.

    Parameters
    ----------
    path
        File that keeps the schemas; read when the application starts.
    """
    store = RegistryStore(path)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(store.load)
        yield

    app = FastAPI(
        title="Schema registry of the sandbox", lifespan=lifespan, default_response_class=_RegistryJson
    )
    app.include_router(_make_router(store))

    @app.exception_handler(_AnswerError)
    async def answer_problem(_: Request, problem: _AnswerError) -> JSONResponse:
        return _RegistryJson(
            {"error_code": problem.code, "message": str(problem)}, status_code=problem.status
        )

    @app.exception_handler(StarletteHTTPException)
    async def answer_http_error(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return _RegistryJson(
            {"error_code": error.status_code, "message": f"HTTP {error.status_code} {error.detail}"},
            status_code=error.status_code,
        )

    return app


def _make_router(store: RegistryStore) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    async def get_root() -> dict[str, str]:
        return {}

    @router.get("/subjects")
    async def list_subjects() -> list[str]:
        return store.list_subjects()

    @router.get("/subjects/{subject}/versions")
    async def list_versions(subject: str) -> list[int]:
        return store.list_versions(subject)

    @router.get("/subjects/{subject}/versions/{version}")
    async def get_version(subject: str, version: str) -> dict[str, Any]:
        return store.get_version(subject, version)

    @router.post("/subjects/{subject}/versions")
    async def register(subject: str, request: Request) -> dict[str, Any]:
        body = await _SchemaBody.from_request(request)
        return {"id": await store.register(subject, body.schema_text)}

    @router.post("/subjects/{subject}")
    async def look_up(subject: str, request: Request) -> dict[str, Any]:
        body = await _SchemaBody.from_request(request)
        return await store.look_up(subject, body.schema_text)

    @router.get("/schemas/ids/{schema_id}")
    async def get_schema(schema_id: int) -> dict[str, Any]:
        return store.get_schema(schema_id)

    return router


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the registry until it is told to stop; the exit status.

    Parameters
    ----------
    arguments
        Command line; None: that of the process.
    """
    parser = argparse.ArgumentParser(description="Schema registry for development, never for production.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port to listen at (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FILE", help="file that keeps the schemas"
    )
    options = parser.parse_args(arguments)
    try:
        RegistryStore(options.data).load()
    except (ValueError, OSError) as error:
        print(f"schema registry: {error}", file=sys.stderr)  # noqa: T201 (a command line program)
        return 1
    uvicorn.run(create_app(options.data), host=options.host, port=options.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
