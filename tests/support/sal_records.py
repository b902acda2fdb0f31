"""Records of the event scalars of component Test: written as they should be, and as nobody should."""

import json
from typing import Any

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import create_registry
from support.brokers import BrokerBench

__all__ = ["SCALARS", "Forger", "drain", "write_history"]

SCALARS = load_component("Test").topics["evt_scalars"]


def drain(topic: Any) -> list[tuple[int, int]]:
    """What is queued, as (salIndex, int0)."""
    samples = []
    while (data := topic.get_oldest()) is not None:
        samples.append((data.salIndex, data.int0))
    return samples


async def write_history(*samples: tuple[int, int]) -> None:
    """Write (salIndex, int0) one after another."""
    async with Controller("Test", 0) as controller:
        for sal_index, value in samples:
            await controller.evt_scalars.set_write(salIndex=sal_index, int0=value, force_output=True)
            await controller.tel_scalars.set_write(salIndex=sal_index, int0=value)


class Forger:
    """Writes records as nobody should."""

    def __init__(self, bench: BrokerBench, controller: Controller) -> None:
        self._bench = bench
        self._controller = controller
        self.topic = SCALARS.kafka_name(bench.settings.topic_subname)

    def encode(self, **fields: Any) -> bytes:
        event = self._controller.evt_scalars
        value: bytes = event.codec.encode({"salIndex": 1, **fields}, schema_id=event.schema_id)
        return value

    async def write(self, value: bytes | None, key: bytes | None = b"odd key") -> None:
        await self._bench.write_raw(self.topic, key=key, value=value)

    async def register(self, schema: dict[str, Any]) -> int:
        registry = create_registry(self._bench.settings)
        try:
            return await registry.register(f"{self.topic}-forged", json.dumps(schema))
        finally:
            await registry.aclose()
