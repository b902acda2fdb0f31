"""The schema registry (sal-on-kafka section 4)."""

import asyncio
import json
from abc import ABC, abstractmethod
from typing import NamedTuple

from typing_extensions import override

from .avro import ParsedSchema, parse_schema
from .errors import SchemaNotFoundError
from .settings import MEMORY_SCHEME, SalSettings

__all__ = [
    "MemorySchemaRegistry",
    "RegisteredSchema",
    "SchemaRegistry",
    "create_registry",
    "normalise",
]


class RegisteredSchema(NamedTuple):
    """What a subject has."""

    schema_id: int
    text: str


class SchemaRegistry(ABC):
    """The registry as the runtime uses it; made by `create_registry`.

    Ids and schemas never change, so they are kept for the life of the object.
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
    async def latest(self, subject: str) -> RegisteredSchema | None:
        await asyncio.sleep(0)
        versions = self._store.versions.get(subject)
        if not versions:
            return None
        return RegisteredSchema(versions[-1], self._store.texts[versions[-1]])

    @override
    async def aclose(self) -> None:
        pass


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

    return HttpSchemaRegistry(settings.registry_url, timeout=settings.connect_timeout)
