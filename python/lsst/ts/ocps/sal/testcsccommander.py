"""Command a `~lsst.ts.ocps.sal.testcsc.TestCsc` from the keyboard (salobj-api section 12)."""

import asyncio
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from .commander import CscCommander
from .typed_words import make_value

__all__ = ["TestCscCommander", "command_test_csc"]


class TestCscCommander(CscCommander):
    """A commander for the component ``Test``, whose ``setArrays`` takes arrays.

    Parameters
    ----------
    index
        SAL index.
    enable
        Whether to bring the CSC to ENABLED first.
    """

    __test__ = False  # Not a collection of tests, in spite of its name.

    def __init__(self, index: int | IntEnum | None, enable: bool = False) -> None:
        super().__init__(name="Test", index=index, enable=enable)
        names = self._find_arrays()
        self.help_dict["setArrays"] = f"field1=value,... field2=...  # fields: {', '.join(names)}"

    def _find_arrays(self) -> list[str]:
        return [
            name for name in self.command_dict["setArrays"].topic_info.fields if self.field_is_public(name)
        ]

    async def do_setArrays(self, args: Sequence[str]) -> None:  # noqa: N802 (SAL's spelling)
        """Send ``setArrays``; missing elements and fields are 0.

        Parameters
        ----------
        args
            Such as ``int0=1,2``, one for each array.

        Raises
        ------
        ValueError
            If an argument is not of that form, or has too many values.
        """
        command = self.command_dict["setArrays"]
        fields: dict[str, Any] = {}
        for arg in args:
            name, is_given, text = arg.partition("=")
            info = command.topic_info.fields.get(name)
            if not is_given or info is None or not self.field_is_public(name):
                raise ValueError(f"{arg!r} is not field=value,value,... with one of {self._find_arrays()}")
            values = [make_value(info, item) for item in text.split(",") if item]
            if len(values) > info.count:
                raise ValueError(f"{name} has room for {info.count} values, got {len(values)}")
            fields[name] = values + [info.default_scalar_value] * (info.count - len(values))
        await command.set_start(**fields)


def command_test_csc() -> None:
    """Entry point of the program ``command_test_csc``."""
    asyncio.run(TestCscCommander.amain(index=True))
