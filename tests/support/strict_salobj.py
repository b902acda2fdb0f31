"""A stand-in for ts_salobj: our runtime, but to our packages only what ts_salobj offers is there.

`install` makes ``lsst.ts.salobj`` and ``lsst.ts.utils`` of it. Whatever else the code of the CSC, the
observer, the command line or the sandbox asks of an object of SAL raises AttributeError, and what it may ask
is written down. As there, a write does not wait for the broker, and tells nobody when it fails.
"""

import asyncio
import sys
import types
from collections.abc import Collection
from types import MappingProxyType
from typing import Any

from lsst.ts.ocps import sal
from lsst.ts.ocps.sal import interface_xml, names
from lsst.ts.ocps.sal.broker.memory import MemoryBroker
from lsst.ts.ocps.sal.interface import ComponentInfo
from lsst.ts.ocps.sal.topics.controller_command import ControllerCommand
from lsst.ts.ocps.sal.topics.read_topic import ReadTopic
from lsst.ts.ocps.sal.topics.remote_command import RemoteCommand
from lsst.ts.ocps.sal.topics.write_topic import WriteTopic
from support.salobj_api import MODULE, UTILS, is_offered
from support.salobj_audit import AUDITED, Use

__all__ = ["REFUSED", "USED", "install", "keep_topics"]

USED: set[Use] = set()
"""What was asked of objects of SAL: kind of object, attribute."""

REFUSED: set[Use] = set()
"""What was asked in vain."""

_GUARDED = tuple(f"lsst.ts.ocps.{package}." for package in AUDITED)

_own_names: dict[type, set[str]] = {}
"""What our classes have set on themselves; nobody else's business."""


def install() -> None:
    """Put the stand-in where ts_salobj and ts_utils are looked for; before ``salobj`` is imported."""
    if "lsst.ts.ocps.salobj" in sys.modules:
        raise RuntimeError("lsst.ts.ocps.salobj has been imported: it has chosen its runtime")
    for name, offered in (("lsst.ts.salobj", MODULE), ("lsst.ts.utils", UTILS)):
        module = types.ModuleType(name)
        for attribute in offered & set(sal.__all__):
            setattr(module, attribute, getattr(sal, attribute))
        sys.modules[name] = module
    kinds = {
        sal.ConfigurableCsc: "ConfigurableCsc",
        sal.Controller: "Controller",
        sal.CscCommander: "CscCommander",
        sal.Remote: "Remote",
        sal.Domain: "Domain",
        sal.SalInfo: "SalInfo",
        WriteTopic: "written topic",
        RemoteCommand: "sent command",
        ReadTopic: "read topic",
        ControllerCommand: "received command",
    }
    for cls, kind in kinds.items():
        _guard(cls, kind)
    _let_writes_go(MemoryBroker)


def keep_topics(component_name: str, kept: Collection[str]) -> None:
    """Take an interface without the other topics, as if the installed ts_xml did not have them.

    Parameters
    ----------
    component_name
        The component.
    kept
        Attribute names of the topics that remain.
    """
    whole = interface_xml.load_component(component_name)
    poor = ComponentInfo(
        name=whole.name,
        is_indexed=whole.is_indexed,
        topics=MappingProxyType({name: topic for name, topic in whole.topics.items() if name in kept}),
        xml_version="22.1",
    )

    def load(name: str) -> ComponentInfo:
        return poor if name == component_name else interface_xml.load_component(name)

    vars(names)["load_component"] = load


def _guard(cls: type, kind: str) -> None:
    """Let our packages see only what ts_salobj offers of a class."""
    original_get: Any = cls.__getattribute__
    original_set: Any = cls.__setattr__

    def get(self: Any, name: str) -> Any:
        if not name.startswith("__") and _is_ours(sys._getframe(1)) and not _is_own(type(self), name):
            if not is_offered(kind, name):
                REFUSED.add((kind, name))
                raise AttributeError(f"ts_salobj offers no {name!r} of a {kind}")
            USED.add((kind, name))
        return original_get(self, name)

    def set_(self: Any, name: str, value: Any) -> None:
        if _is_ours(sys._getframe(1)) and not is_offered(kind, name):
            if type(self) is cls:
                REFUSED.add((kind, name))
                raise AttributeError(f"ts_salobj offers no {name!r} of a {kind}")
            _own_names.setdefault(type(self), set()).add(name)
        original_set(self, name, value)

    type.__setattr__(cls, "__getattribute__", get)
    type.__setattr__(cls, "__setattr__", set_)


def _is_ours(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_GUARDED)


def _is_own(cls: type, name: str) -> bool:
    """Whether a class of ours defines an attribute itself, or has set it."""
    if name in _own_names.get(cls, ()):
        return True
    return any(name in vars(base) for base in cls.__mro__ if base.__module__.startswith(_GUARDED))


def _let_writes_go(broker: type[MemoryBroker]) -> None:
    """Writes return before the broker has the record, and failures stay unknown."""
    send = broker.send
    under_way: set[asyncio.Task[Any]] = set()

    async def send_soon(self: MemoryBroker, topic: str, *, key: bytes, value: bytes) -> Any:
        task = asyncio.create_task(send(self, topic, key=key, value=value))
        under_way.add(task)
        task.add_done_callback(forget)

    def forget(task: asyncio.Task[Any]) -> None:
        under_way.discard(task)
        if not task.cancelled():
            task.exception()

    broker.send = send_soon  # type: ignore[method-assign]
