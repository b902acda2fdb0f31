"""The sandbox's schema registry: the part of the Confluent API that SAL clients use (sal-on-kafka section 4).

A development tool, never for production: one process, no login, no compatibility rules. Run it with
``python -m lsst.ts.ocps.sandbox.schema_registry --port 8081 --data registry.json``.
"""

import argparse
import asyncio
import json
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


class _State(BaseModel):
    """What is saved."""

    model_config = ConfigDict(extra="forbid")

    schemas: list[str] = []
    """Texts; the id is the position, from 1 on."""

    subjects: dict[str, list[int]] = {}
    """Ids by subject, oldest version first."""


class RegistryStore:
    """Schemas and subjects in one file, saved before a registration is answered.

    Parameters
    ----------
    path
        The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _State()
        self._ids: dict[str, int] = {}
        """By normalised text."""

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
        try:
            self._state = _State.model_validate_json(self._path.read_bytes())
            self._ids = {normalise(text): n for n, text in enumerate(self._state.schemas, start=1)}
        except ValueError as error:
            raise ValueError(f"{self._path} is not a file of this schema registry: {error}") from error

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
            state = self._state.model_copy(deep=True)
            schema_id = self._ids.get(key, len(state.schemas) + 1)
            versions = state.subjects.setdefault(subject, [])
            if schema_id in versions:
                return schema_id
            if key not in self._ids:
                state.schemas.append(text)
            versions.append(schema_id)
            await asyncio.to_thread(self._save, state)
            self._state, self._ids[key] = state, schema_id
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
        if not 1 <= schema_id <= len(self._state.schemas):
            raise _SchemaNotFoundError(f"Schema {schema_id} not found")
        return {"schema": self._state.schemas[schema_id - 1]}

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
        return sorted(self._state.subjects)

    def _versions(self, subject: str) -> list[int]:
        if subject not in self._state.subjects:
            raise _SubjectNotFoundError(f"Subject {subject!r} not found")
        return self._state.subjects[subject]

    def _describe(self, subject: str, version: int) -> dict[str, Any]:
        schema_id = self._state.subjects[subject][version - 1]
        return {"subject": subject, "version": version, "id": schema_id, **self.get_schema(schema_id)}

    @staticmethod
    async def _check(text: str) -> str:
        """The normalised text of a proper Avro schema."""
        try:
            await asyncio.to_thread(parse_schema, text)
        except DecodeError as error:
            raise _InvalidSchemaError(f"Invalid schema: {error}") from error
        return normalise(text)

    def _save(self, state: _State) -> None:
        """Replace the file as a whole: a crash leaves the old one or the new one."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(state.model_dump(), stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._path)


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
