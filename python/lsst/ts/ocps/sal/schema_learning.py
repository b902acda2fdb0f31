"""Read the schemas of topics before their first record comes, as long as the registry can be asked.

A registry that dies afterwards then delays no record of a known schema: above all no command to a component
that has had none of its kind yet.
"""

import asyncio
import logging
from collections.abc import Iterable

from .errors import SalError
from .interface import TopicInfo, TopicKind
from .registry import SchemaRegistry

__all__ = ["PAUSE", "learn_schemas"]

PAUSE = 0.02
"""Between two topics (s): what is in no hurry leaves registry and loop to others."""

_FIRST = (TopicKind.COMMAND, TopicKind.ACKCMD)


async def learn_schemas(
    registry: SchemaRegistry, topics: Iterable[TopicInfo], topic_subname: str, *, log: logging.Logger
) -> None:
    """Read the latest schema of each topic, commands and acknowledgements first.

    A topic that nobody has written yet has none. A registry that does not answer ends it: schemas are then
    read when records ask for them.

    Parameters
    ----------
    registry
        The registry.
    topics
        What is read.
    topic_subname
        Part of the names of the subjects.
    log
        Where it is told that the registry does not answer (debug).
    """
    try:
        for topic in sorted(topics, key=lambda each: each.kind not in _FIRST):
            latest = await registry.latest(topic.avro_subject(topic_subname))
            if latest is not None and registry.known_schema(latest.schema_id) is None:
                await registry.schema(latest.schema_id)
            await asyncio.sleep(PAUSE)
    except SalError as error:
        log.debug("schemas are read when records ask for them: %s", error)
