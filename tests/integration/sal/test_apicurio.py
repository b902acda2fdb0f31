"""SAL traffic with the real Apache Kafka and the real Apicurio Registry, whose URL has a path."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import create_registry
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.apache_kafka import ApacheKafka
from support.brokers import make_settings
from support.sal_fixtures import WAIT, make_environment

pytestmark = [pytest.mark.asyncio, pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture
def settings(apache_process: ApacheKafka, apicurio_url: str, monkeypatch: pytest.MonkeyPatch) -> SalSettings:
    settings = make_settings(broker_address=apache_process.address, registry_url=apicurio_url)
    for name, value in make_environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


async def test_programs_that_start_at_once_agree_on_schemas_and_speak_to_each_other(
    settings: SalSettings,
) -> None:
    async def echo(data: BaseMsgType) -> None:
        await controllers[data.salIndex - 1].evt_scalars.set_write(int0=data.int0, string0=data.string0)

    controllers = [Controller("Test", index) for index in (1, 2, 3)]
    async with AsyncExitStack() as stack:
        for controller in controllers:
            controller.cmd_setScalars.callback = echo
            stack.push_async_callback(controller.close)
        domain = await stack.enter_async_context(Domain())
        remotes = [Remote(domain, "Test", index) for index in (1, 2, 3)]
        # Nobody has registered anything yet: each subject is claimed by all of them at the same moment.
        await asyncio.gather(*(c.start_task for c in controllers), *(r.start_task for r in remotes))
        for index, remote in enumerate(remotes, start=1):
            ackcmd = await remote.cmd_setScalars.set_start(int0=index, string0="é", timeout=WAIT)
            assert ackcmd.ack == SalRetCode.CMD_COMPLETE
            data = await remote.evt_scalars.next(flush=False, timeout=WAIT)
            assert (data.salIndex, data.int0, data.string0) == (index, index, "é")
    registry = create_registry(settings)
    for topic in load_component("Test").topics.values():
        subject = topic.avro_subject(settings.topic_subname)
        registered = await registry.latest(subject)
        assert registered is not None, subject
        assert (await registry.schema(registered.schema_id)).text == registered.text
    await registry.aclose()
