"""A CSC without a device, to test with: echoes values, waits, faults (salobj-api section 12)."""

import asyncio
import random
import string
from types import SimpleNamespace
from typing import Any, ClassVar

from typing_extensions import override as overrides

from lsst.ts.ocps import __version__

from .configurable_csc import ConfigurableCsc
from .data_type import BaseMsgType
from .enums import State
from .errors import ExpectedError
from .interface import PRIVATE_FIELD_PREFIX, FieldInfo, Scalar
from .type_hints import PathType

__all__ = ["CONFIG_SCHEMA", "TestCsc", "run_test_csc"]

CONFIG_SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Test v1",
    "description": "Configuration of the component Test",
    "type": "object",
    "properties": {
        "string0": {"type": "string", "default": "default value"},
        "int0": {"type": "integer"},
        "nested": {"type": "object"},
    },
    "required": ["string0", "int0"],
    "additionalProperties": False,
}
"""JSON Schema of the configuration of `TestCsc`."""

_RANGES = {
    "byte": (0, 255),
    "short": (-(2**15), 2**15 - 1),
    "unsigned short": (0, 2**16 - 1),
    "unsigned int": (0, 2**32 - 1),
    "long long": (-(2**63), 2**63 - 1),
}
_LONG_RANGE = (-(2**31), 2**31 - 1)


class TestCsc(ConfigurableCsc):
    """A CSC of the component ``Test``.

    ``setScalars`` and ``setArrays`` publish what they are given as an event and as telemetry; ``wait`` takes
    the time that it is told (s), several at once; ``fault`` goes to FAULT with code 1.

    Parameters
    ----------
    index
        SAL index.
    config_dir, check_if_duplicate, initial_state, override, simulation_mode
        As for `~lsst.ts.ocps.sal.configurable_csc.ConfigurableCsc`.

    Raises
    ------
    RuntimeError, ValueError
        As for `~lsst.ts.ocps.sal.configurable_csc.ConfigurableCsc`.
    """

    __test__ = False  # Not a collection of tests, in spite of its name.

    enable_cmdline_state = True
    valid_simulation_modes: ClassVar[tuple[int, ...]] = (0, 1)
    version = __version__

    def __init__(  # noqa: PLR0917 (the API)
        self,
        index: int,
        config_dir: PathType | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | int | None = State.STANDBY,
        override: str = "",
        simulation_mode: int = 0,
    ) -> None:
        self.config: SimpleNamespace | None = None
        super().__init__(
            name="Test",
            index=index,
            config_schema=CONFIG_SCHEMA,
            config_dir=config_dir,
            check_if_duplicate=check_if_duplicate,
            initial_state=initial_state,
            override=override,
            simulation_mode=simulation_mode,
        )
        self.cmd_wait.allow_multiple_callbacks = True
        self.evt_softwareVersions.set(subsystemVersions="")

    @staticmethod
    @overrides
    def get_config_pkg() -> str:
        return "ts_config_ocs"

    @overrides
    async def configure(self, config: SimpleNamespace) -> None:
        self.config = config

    # Commands

    async def do_setScalars(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Publish the values as event and telemetry ``scalars``."""
        self.assert_enabled()
        fields = get_public_fields(data)
        await self.evt_scalars.set_write(**fields)
        await self.tel_scalars.set_write(**fields)

    async def do_setArrays(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Publish the values as event and telemetry ``arrays``."""
        self.assert_enabled()
        fields = get_public_fields(data)
        await self.evt_arrays.set_write(**fields)
        await self.tel_arrays.set_write(**fields)

    async def do_wait(self, data: BaseMsgType) -> None:
        """Acknowledge with CMD_INPROGRESS, then wait for ``duration`` (s).

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.ExpectedError
            If not ENABLED, or the duration is negative.
        """
        self.assert_enabled()
        if data.duration < 0:
            raise ExpectedError(f"duration={data.duration} < 0")
        await self.cmd_wait.ack_in_progress(data, timeout=data.duration)
        await asyncio.sleep(data.duration)

    async def do_fault(self, data: BaseMsgType) -> None:
        """Go to FAULT."""
        del data
        await self.fault(code=1, report="executing the fault command")

    # Values for tests

    def make_random_scalars_dict(self) -> dict[str, Any]:
        """Random values for the fields of ``scalars``, as ``setScalars`` takes them."""
        return self._make_random_dict("evt_scalars")

    def make_random_arrays_dict(self) -> dict[str, Any]:
        """Random values for the fields of ``arrays``, as ``setArrays`` takes them."""
        return self._make_random_dict("evt_arrays")

    def _make_random_dict(self, attr_name: str) -> dict[str, Any]:
        infos = self.salinfo.component_info.topics[attr_name].fields.values()
        return {info.name: _make_random_value(info) for info in infos if _is_public(info.name)}

    def assert_scalars_equal(self, scalars1: BaseMsgType, scalars2: BaseMsgType) -> None:
        """Check that two records of ``scalars`` (event, telemetry or command) hold the same values.

        Raises
        ------
        AssertionError
            If they do not; names the first field.
        """
        _assert_equal(scalars1, scalars2)

    def assert_arrays_equal(self, arrays1: BaseMsgType, arrays2: BaseMsgType) -> None:
        """Check that two records of ``arrays`` (event, telemetry or command) hold the same values.

        Raises
        ------
        AssertionError
            If they do not; names the first field.
        """
        _assert_equal(arrays1, arrays2)


def _is_public(name: str) -> bool:
    return name != "salIndex" and not name.startswith(PRIVATE_FIELD_PREFIX)


def get_public_fields(data: BaseMsgType) -> dict[str, Any]:
    """The fields of a record that are not SAL's own."""
    return {name: value for name, value in vars(data).items() if _is_public(name)}


def _make_random_value(info: FieldInfo) -> Scalar | list[Scalar]:
    if info.count == 1:
        return _make_random_scalar(info)
    return [_make_random_scalar(info) for _ in range(info.count)]


def _make_random_scalar(info: FieldInfo) -> Scalar:
    # Test data, not secrets.
    if info.sal_type == "boolean":
        return random.random() < 0.5  # nosec B311 # noqa: S311 (see above)
    if info.sal_type == "string":
        return "".join(random.choices(string.printable, k=20))  # nosec B311 # noqa: S311 (see above)
    if info.sal_type in {"float", "double"}:
        # A number that single precision holds exactly.
        return random.randint(-(2**20), 2**20) / 1024  # nosec B311 # noqa: S311 (see above)
    return random.randint(*_RANGES.get(info.sal_type, _LONG_RANGE))  # nosec B311 # noqa: S311 (see above)


def _assert_equal(record1: BaseMsgType, record2: BaseMsgType) -> None:
    fields1, fields2 = get_public_fields(record1), get_public_fields(record2)
    if fields1.keys() != fields2.keys():
        raise AssertionError(f"fields {sorted(fields1)} differ from {sorted(fields2)}")
    for name, value in fields1.items():
        if value != fields2[name]:
            raise AssertionError(f"{name} is {value!r} in one record and {fields2[name]!r} in the other")


def run_test_csc() -> None:
    """Entry point of the program ``run_test_csc``."""
    asyncio.run(TestCsc.amain(index=True))
