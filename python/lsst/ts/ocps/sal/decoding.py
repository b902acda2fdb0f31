"""Makes samples of records, with the schemas of their writers."""

import asyncio
from typing import Any

from .avro import ParsedSchema, TopicCodec, schema_id_of
from .broker.base import Record
from .data_type import BaseMsgType
from .errors import DecodeError, RegistryError, SchemaNotFoundError
from .registry import SchemaRegistry
from .skips import SkipCounter, SkipReason
from .tai import current_tai
from .topic_roles import RecordSink

__all__ = ["SampleDecoder"]


class SampleDecoder:
    """Decodes the records that one reader reads.

    Parameters
    ----------
    registry
        Where the schemas of the writers are looked up.
    index
        Records of other indices give no sample; 0 keeps every index.
    skips
        Counts the records that give no sample.
    """

    def __init__(self, registry: SchemaRegistry, *, index: int, skips: SkipCounter) -> None:
        self._registry = registry
        self._index = index
        self._skips = skips

    async def decode(self, sink: RecordSink, record: Record, *, patience: float) -> BaseMsgType | None:
        """The sample of a record; None, counted, for what cannot be read or is not for us.

        Parameters
        ----------
        sink
            The topic of the record.
        record
            Any record of it.
        patience
            Longest wait for the registry (s).

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.RegistryError
            If the registry could not be asked about the schema.
        """
        if record.value is None:
            self._skips.add(record, SkipReason.TOMBSTONE)
            return None
        try:
            sample = await self._decode(sink, record, patience)
        except SchemaNotFoundError as error:
            self._skips.add(record, SkipReason.UNKNOWN_SCHEMA, error)
        except RegistryError:
            raise
        except DecodeError as error:
            self._skips.add(record, SkipReason.UNDECODABLE, error)
        except Exception as error:  # noqa: BLE001 (logged and counted: no record may end a reader)
            self._skips.add(record, SkipReason.UNEXPECTED, error)
        else:
            if sample is None:
                self._skips.add(record, SkipReason.OTHER_INDEX)
            return sample
        return None

    async def _decode(self, sink: RecordSink, record: Record, patience: float) -> BaseMsgType | None:
        """Decode; None for a record of another index."""
        schema_id = schema_id_of(record.value)
        schema = self._registry.known_schema(schema_id)
        if schema is None or not sink.codec.is_of_topic(schema):
            schema = await self._look_up(schema_id, patience, sink.codec)
        fields: dict[str, Any] = sink.codec.decode(record.value, schema)
        if self._index != 0 and fields.get("salIndex", self._index) != self._index:
            return None
        fields["private_rcvStamp"] = current_tai()
        return sink.DataType(**fields)

    async def _look_up(self, schema_id: int, patience: float, codec: TopicCodec) -> ParsedSchema:
        try:
            async with asyncio.timeout(patience):
                schema = await self._registry.schema(schema_id)
                # The registry may have become another one, where this id means something else.
                is_stale = not codec.is_of_topic(schema)
                return await self._registry.schema_anew(schema_id) if is_stale else schema
        except TimeoutError:
            raise RegistryError(f"no answer about schema {schema_id} within {patience:g} s") from None
