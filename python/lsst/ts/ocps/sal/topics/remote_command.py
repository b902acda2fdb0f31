"""Commands as a Remote sends them (salobj-api section 7)."""

from typing import Any, NoReturn

from typing_extensions import override

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import AckError
from lsst.ts.ocps.sal.salinfo import SalInfo
from lsst.ts.ocps.sal.sequence import share_command_numbers
from lsst.ts.ocps.sal.values import is_different

from .ackcmd import AckCmdReader
from .command_info import FINAL_ACKS, CommandInfo
from .write_topic import SetWriteResult, WriteTopic

__all__ = ["DEFAULT_TIMEOUT", "RemoteCommand"]

DEFAULT_TIMEOUT = 3600.0
"""How long to wait for an acknowledgement (s)."""

MAX_KEPT = 10_000
"""So many commands whose end nobody has collected are remembered."""


class RemoteCommand(WriteTopic):
    """A command of a remote component.

    Parameters
    ----------
    salinfo
        The component and index.
    name
        Name of the command, without prefix.
    """

    def __init__(self, salinfo: SalInfo, name: str) -> None:
        super().__init__(salinfo, f"cmd_{name}", default_force_output=True)
        self._acks = AckCmdReader.of(salinfo)
        self._seq_nums = share_command_numbers(salinfo.name, salinfo.command_names, name)
        self._commands: dict[int, CommandInfo] = {}
        salinfo.add_closer(self._abort_waits)

    @override
    def set(self, **fields: Any) -> bool:
        """Make a fresh record with these fields and the defaults of all others.

        Returns
        -------
        bool
            Whether a field differs from its default.

        Raises
        ------
        AttributeError
            If a name is no field of this command.
        """
        values = self._take_values(fields)
        data = self.DataType()
        did_change = False
        for name, value in values.items():
            did_change |= is_different(self.topic_info.fields[name], getattr(data, name), value)
            setattr(data, name, value)
        self._data = data
        self.has_data = True
        return did_change

    @override
    async def set_write(self, *, force_output: bool | None = None, **fields: Any) -> SetWriteResult:
        """Not for commands: use `set_start`."""
        self._refuse("set_write", "set_start")

    @override
    async def write(self) -> BaseMsgType:
        """Not for commands: use `start`."""
        self._refuse("write", "start")

    def _refuse(self, name: str, better: str) -> NoReturn:
        raise NotImplementedError(f"{self.attr_name}.{name} does not exist; use {better}")

    async def set_start(
        self,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (the API)
        wait_done: bool = True,
        **fields: Any,
    ) -> BaseMsgType:
        """Send the command with these fields; see `set` and `start`."""
        self.set(**fields)
        return await self.start(timeout=timeout, wait_done=wait_done)

    async def start(
        self,
        data: BaseMsgType | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (the API)
        wait_done: bool = True,
    ) -> BaseMsgType:
        """Send the command and wait for an acknowledgement.

        Parameters
        ----------
        data
            The fields; None: as they stand, so the last command is repeated.
        timeout
            Longest wait (s); with ``wait_done`` each CMD_INPROGRESS adds its own. None: one hour.
        wait_done
            Whether to wait for the final acknowledgement or for the first of any kind.

        Returns
        -------
        BaseMsgType
            The acknowledgement.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.AckError
            If the command failed.
        ~lsst.ts.ocps.sal.errors.AckTimeoutError
            If no acknowledgement came in time; the command is forgotten then.
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker did not take the command.
        RuntimeError
            If not started, or closed.
        TypeError
            If ``data`` is no record of this command.
        """
        self.salinfo.assert_running()
        if data is not None:
            self.data = data
        seq_num = self._seq_nums.take()
        no_ack = self.salinfo.make_ackcmd(
            private_seqNum=seq_num,
            ack=SalRetCode.CMD_NOACK,
            result="No command acknowledgement seen",
        )
        info = self._remember(CommandInfo(seq_num, no_ack))
        try:
            await self._write_record(self._data, seq_num)
        except BaseException:
            self._forget(info)
            raise
        return await self._wait(info, timeout, wait_done)

    async def next_ackcmd(
        self,
        ackcmd: BaseMsgType,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (the API)
        wait_done: bool = True,
    ) -> BaseMsgType:
        """Wait for a further acknowledgement of a command; a final one that has come meanwhile counts.

        Parameters
        ----------
        ackcmd
            An earlier acknowledgement of the command.
        timeout, wait_done
            As for `start`.

        Raises
        ------
        RuntimeError
            If the command is unknown, or its final acknowledgement has been collected.
        ~lsst.ts.ocps.sal.errors.AckError
            If the command failed.
        ~lsst.ts.ocps.sal.errors.AckTimeoutError
            If no acknowledgement came in time; the command is forgotten then.
        """
        self.salinfo.assert_running()
        info = self._commands.get(ackcmd.private_seqNum)
        if info is None:
            raise RuntimeError(f"Command private_seqNum={ackcmd.private_seqNum} is unknown or finished")
        return await self._wait(info, timeout, wait_done)

    async def _wait(
        self,
        info: CommandInfo,
        timeout: float | None,  # noqa: ASYNC109 (moved out by CMD_INPROGRESS)
        wait_done: bool,
    ) -> BaseMsgType:
        try:
            ackcmd = await info.wait(
                timeout=DEFAULT_TIMEOUT if timeout is None else timeout, wait_done=wait_done
            )
        except AckError:
            self._forget(info)
            raise
        if ackcmd.ack in FINAL_ACKS:
            self._forget(info)
        return ackcmd

    def _remember(self, info: CommandInfo) -> CommandInfo:
        if len(self._commands) >= MAX_KEPT:
            oldest = next(iter(self._commands.values()))
            self._forget(next((each for each in self._commands.values() if each.is_ended), oldest))
        self._commands[info.seq_num] = info
        self._acks.listen(info.seq_num, info.take)
        return info

    def _forget(self, info: CommandInfo) -> None:
        self._commands.pop(info.seq_num, None)
        self._acks.forget(info.seq_num)

    def _abort_waits(self) -> None:
        for info in self._commands.values():
            info.abort()
