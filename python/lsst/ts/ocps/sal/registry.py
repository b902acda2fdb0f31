"""The schema registry (sal-on-kafka section 4)."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import NamedTuple

from typing_extensions import override

from .avro import ParsedSchema, parse_schema
from .errors import SchemaNotFoundError
from .settings import MEMORY_SCHEME, SalSettings

__all__ = [
    "MAX_EARLIER",
    "MemorySchemaRegistry",
    "RegisteredSchema",
    "SchemaRegistry",
    "create_registry",
    "normalise",
]


MAX_EARLIER = 50
"""So many earlier versions of a subject are looked at."""


class RegisteredSchema(NamedTuple):
    """What a subject has."""

    schema_id: int
    text: str


class SchemaRegistry(ABC):
    """The registry as the runtime uses it; made by `create_registry`.

    Ids and schemas never change, so what was read is kept, until `forget_schemas` is called because the
    registry has become another one.
    """

    @abstractmethod
    async def register(self, subject: str, schema_text: str) -> int:
        """Register a schema under a subject and return its id; registering it again is harmless.

        Parameters
        ----------
        subject
            Name of the subject.
        schema_text
            The schema as JSON text.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.SchemaRefusedError
            If the registry refuses it as incompatible with the subject's rule (409).
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry is not reachable in time, or answers nonsense; names the address.
        """

    @abstractmethod
    async def schema(self, schema_id: int) -> ParsedSchema:
        """The writer's schema of an id, parsed.

        Parameters
        ----------
        schema_id
            The id in a record's value.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.SchemaNotFoundError
            If the registry does not know the id (asked again after some seconds, not at each call).
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry is not reachable (not asked at each call either), or its answer is not an Avro
            schema.
        """

    @abstractmethod
    def known_schema(self, schema_id: int) -> ParsedSchema | None:
        """The schema of an id if it was read before, so that a record has nothing to wait for.

        Parameters
        ----------
        schema_id
            The id in a record's value.
        """

    @abstractmethod
    async def schema_anew(self, schema_id: int) -> ParsedSchema:
        """The same, but the registry is asked unless that was done only some seconds ago.

        Parameters
        ----------
        schema_id
            The id in a record's value, whose schema cannot be the right one.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.RegistryError
            As for `schema`.
        """

    @abstractmethod
    async def latest(self, subject: str) -> RegisteredSchema | None:
        """The newest schema of a subject, or None if the subject does not exist. Not kept.

        Parameters
        ----------
        subject
            Name of the subject.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry is not reachable in time, or answers nonsense.
        """

    @abstractmethod
    def earlier(self, subject: str) -> AsyncGenerator[RegisteredSchema, None]:
        """The schemas that a subject had before its newest one, the newest of them first.

        Each is read when it is asked for, and at most `MAX_EARLIER` of them are given.

        Parameters
        ----------
        subject
            Name of the subject.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry is not reachable in time, or answers nonsense.
        """

    @abstractmethod
    def forget_schemas(self) -> None:
        """Read every schema anew when its id is met again."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close connections."""


def normalise(schema_text: str) -> str:
    """JSON text without insignificant blanks: two schemas are the same if these texts are equal.

    Parameters
    ----------
    schema_text
        A schema as JSON text.

    Raises
    ------
    ValueError
        If it is not JSON.
    """
    return json.dumps(json.loads(schema_text), separators=(",", ":"))


class _MemoryStore:
    """What the memory registries of one name share."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.ids: dict[str, int] = {}
        """By normalised text."""

        self.versions: dict[str, list[int]] = {}
        """Ids by subject, oldest first."""


_STORES: dict[str, _MemoryStore] = {}


class MemorySchemaRegistry(SchemaRegistry):
    """A registry inside this process; those of one name share what they hold.

    Parameters
    ----------
    name
        Which one.
    """

    def __init__(self, name: str) -> None:
        self._address = f"{MEMORY_SCHEME}{name}"
        self._store = _STORES.setdefault(name, _MemoryStore())
        self._parsed: dict[int, ParsedSchema] = {}

    @override
    async def register(self, subject: str, schema_text: str) -> int:
        await asyncio.sleep(0)  # a real one yields too
        key = normalise(schema_text)
        schema_id = self._store.ids.setdefault(key, len(self._store.ids) + 1)
        self._store.texts.setdefault(schema_id, schema_text)
        versions = self._store.versions.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    @override
    async def schema(self, schema_id: int) -> ParsedSchema:
        if schema_id not in self._parsed:
            await asyncio.sleep(0)
            if schema_id not in self._store.texts:
                raise SchemaNotFoundError(f"{self._address} knows no schema {schema_id}")
            self._parsed[schema_id] = parse_schema(self._store.texts[schema_id])
        return self._parsed[schema_id]

    @override
    def known_schema(self, schema_id: int) -> ParsedSchema | None:
        return self._parsed.get(schema_id)

    @override
    async def schema_anew(self, schema_id: int) -> ParsedSchema:
        self._parsed.pop(schema_id, None)
        return await self.schema(schema_id)

    @override
    async def latest(self, subject: str) -> RegisteredSchema | None:
        await asyncio.sleep(0)
        versions = self._store.versions.get(subject)
        if not versions:
            return None
        return RegisteredSchema(versions[-1], self._store.texts[versions[-1]])

    @override
    async def earlier(self, subject: str) -> AsyncGenerator[RegisteredSchema, None]:
        for schema_id in self._store.versions.get(subject, [])[-2 : -2 - MAX_EARLIER : -1]:
            await asyncio.sleep(0)
            yield RegisteredSchema(schema_id, self._store.texts[schema_id])

    @override
    def forget_schemas(self) -> None:
        self._parsed.clear()

    @override
    async def aclose(self) -> None:
        pass

    @staticmethod
    def swap(name: str) -> None:
        """Let the registries of a name hold nothing from now on, as if another one had taken their place."""
        store = _STORES.setdefault(name, _MemoryStore())
        for content in (store.texts, store.ids, store.versions):
            content.clear()


def create_registry(settings: SalSettings) -> SchemaRegistry:
    """Make the registry that the settings name; nothing is sent yet.

    Parameters
    ----------
    settings
        The settings of this process.
    """
    if settings.registry_url.startswith(MEMORY_SCHEME):
        return MemorySchemaRegistry(settings.registry_url.removeprefix(MEMORY_SCHEME))
    from .registry_http import HttpSchemaRegistry  # noqa: PLC0415 (it derives from this module's class)

    return HttpSchemaRegistry(
        settings.registry_url, timeout=settings.connect_timeout, ca_file=settings.ca_file
    )
