"""Scripts: programs that are configured once, run once and end (salobj-api section 14)."""

import argparse
import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from types import SimpleNamespace
from typing import Any, Self

import yaml
from jsonschema import ValidationError
from typing_extensions import override

from .data_type import BaseMsgType
from .enums import ScriptState
from .errors import ExpectedError
from .script_states import ALIVE, HEARTBEAT_INTERVAL, ScriptStates, check_pattern
from .validator import DefaultingValidator

__all__ = ["HEARTBEAT_INTERVAL", "BaseScript"]

_ENDS = {
    ScriptState.ENDING: ScriptState.DONE,
    ScriptState.STOPPING: ScriptState.STOPPED,
    ScriptState.FAILING: ScriptState.FAILED,
}
_SUCCESSES = frozenset({ScriptState.DONE, ScriptState.STOPPED})


class BaseScript(ScriptStates, ABC):
    """A SAL script: it is configured, gets a group id, runs, and then closes itself.

    How it ended is told by the event state; the acknowledgement of ``run`` only says that it has ended.

    Parameters
    ----------
    index
        SAL index, unique among the scripts that are alive.
    descr
        What the script does, in a few words.
    help
        What there is to know beyond that.

    Raises
    ------
    ValueError
        If the index is 0: the script would obey the commands to every script.
    jsonschema.exceptions.SchemaError
        If `get_schema` returns what is no schema.
    """

    def __init__(self, index: int, descr: str, help: str = "") -> None:  # noqa: A002 (the API)
        if index == 0:
            raise ValueError("index must not be 0: the script would obey the commands to every script")
        schema = self.get_schema()
        self.config_validator = None if schema is None else DefaultingValidator(schema)
        self._obs_id = ""
        self._work: asyncio.Task[None] | None = None
        self._exit_task: asyncio.Task[None] | None = None
        super().__init__(index, descr, help)

    # To be implemented

    @abstractmethod
    async def configure(self, config: SimpleNamespace) -> None:
        """Take the configuration.

        Parameters
        ----------
        config
            Top-level keys as attributes, the defaults of the schema among them; mappings inside stay
            mappings. Without a schema it is empty.
        """

    @abstractmethod
    def set_metadata(self, metadata: BaseMsgType) -> None:
        """Fill in the event metadata; called after `configure`.

        Parameters
        ----------
        metadata
            The record that will be written.
        """

    @abstractmethod
    async def run(self) -> None:
        """Do the work, with a call of ``checkpoint`` wherever it may be paused or stopped."""

    @classmethod
    @abstractmethod
    def get_schema(cls) -> Mapping[str, Any] | None:
        """JSON Schema (draft 7) of the configuration; None: there is nothing to configure."""

    async def cleanup(self) -> None:
        """Tidy up after the work, however it ended: the state is ENDING, STOPPING or FAILING."""

    @property
    def obs_id(self) -> str:
        """Block id, as ``configure`` told it; "": none."""
        return self._obs_id

    # Commands

    async def do_configure(self, data: BaseMsgType) -> None:
        """Read the YAML text, fill in defaults, check, call `configure`; a failure is the end."""
        self.assert_state("configure", {ScriptState.UNCONFIGURED})
        try:
            await self._configure(data)
            self._assert_not_stopped()
        except Exception as error:
            if self.state.state == ScriptState.UNCONFIGURED:
                await self.set_state(ScriptState.CONFIGURE_FAILED, reason=f"configure failed: {error}")
                self._exit_soon()
            raise
        await self.set_state(ScriptState.CONFIGURED)

    async def _configure(self, data: BaseMsgType) -> None:
        config = self._read_config(data.config)
        check_pattern(data.pauseCheckpoint)
        check_pattern(data.stopCheckpoint)
        if data.logLevel:
            self.log.setLevel(data.logLevel)
            await self.put_log_level()
        self._obs_id = data.blockId
        await self._do_work(self.configure(config), "configure")
        self._assert_not_stopped()
        self.set_metadata(self.evt_metadata.data)
        await self.evt_metadata.write()
        await self._put_checkpoints(data.pauseCheckpoint, data.stopCheckpoint)

    def _assert_not_stopped(self) -> None:
        if self.state.state == ScriptState.STOPPING:
            raise ExpectedError("the script was stopped meanwhile")

    def _read_config(self, text: str) -> SimpleNamespace:
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ExpectedError(f"config={text!r} is not YAML: {error}") from error
        if values is not None and not isinstance(values, dict):
            raise ExpectedError(f"config={text!r} is not a mapping")
        if self.config_validator is not None:
            try:
                return SimpleNamespace(**self.config_validator.validate(values))
            except ValidationError as error:
                raise ExpectedError(f"Configuration failed validation: {error!r}") from error
        if values:
            raise ExpectedError(f"config={text!r} is given to a script that has nothing to configure")
        return SimpleNamespace()

    async def do_setGroupId(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Set the group id, or take it back with ""."""
        self.assert_state("setGroupId", {ScriptState.CONFIGURED})
        self._num_group_ids = 0
        self.evt_state.set(groupId=data.groupId)
        await self.set_state(force_output=True)

    async def do_run(self, data: BaseMsgType) -> None:
        """Run the script to its end, however it comes; the state tells how."""
        del data
        self.assert_state("run", {ScriptState.CONFIGURED})
        if not self.group_id:
            raise ExpectedError("run not allowed without a group id")
        await self.set_state(ScriptState.RUNNING)
        try:
            await self._do_work(self.run(), "run")
        except ExpectedError as error:
            self.log.error("run failed: %s", error)  # noqa: TRY400 (expected: no traceback)
            await self.set_state(ScriptState.FAILING, reason=f"run failed: {error}")
        except Exception as error:
            self.log.exception("run failed")
            await self.set_state(ScriptState.FAILING, reason=f"run failed: {error}")
        else:
            if self.state.state != ScriptState.STOPPING:
                await self.set_state(ScriptState.ENDING)
        self._exit_soon()

    async def do_stop(self, data: BaseMsgType) -> None:
        """Stop, whatever the script is doing; does nothing to one that is ending already."""
        del data
        if self.state.state not in ALIVE:
            return
        await self.set_state(ScriptState.STOPPING)
        if self._work is not None:
            self._work.cancel()
        self._exit_soon()

    async def _do_work(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run code of the subclass so that ``stop`` can end it; to be told to stop is no error."""
        if self.state.state == ScriptState.STOPPING:
            work.close()
            return
        task = self._work = asyncio.create_task(work, name=f"{self.salinfo.name_index}:{name}")
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            # The script is being closed.
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            self._work = None
        if not task.cancelled():
            task.result()
        elif self.state.state != ScriptState.STOPPING:
            raise RuntimeError(f"{name} was cancelled though nobody had said stop")

    # End

    def _exit_soon(self) -> None:
        if self._exit_task is None:
            self._exit_task = asyncio.create_task(self._exit(), name=f"{self.salinfo.name_index}:exit")

    async def _exit(self) -> None:
        """Once the commands have been acknowledged: tidy up, tell the end, close."""
        for command in self._commands.values():
            await command.wait_idle()
        if self._work is not None:
            # Somebody has called the method of a command himself.
            await asyncio.wait([self._work])
        error: Exception | None = None
        end = _ENDS.get(ScriptState(self.state.state))
        if end is not None:
            error = await self._try_cleanup()
            if error is None:
                await self.set_state(end, keep_old_reason=True)
            else:
                await self.set_state(ScriptState.FAILED, f"cleanup failed: {error}", keep_old_reason=True)
        await self._let_remotes_read()
        await self.close(error)

    async def _try_cleanup(self) -> Exception | None:
        try:
            await self.cleanup()
        except Exception as error:
            self.log.exception("cleanup failed")
            return error
        return None

    @override
    async def close_tasks(self) -> None:
        """Stop background tasks; subclasses override it and call it."""
        if self._exit_task is not None and self._exit_task is not asyncio.current_task():
            self._exit_task.cancel()
            await asyncio.wait([self._exit_task])
        await super().close_tasks()

    # Command line

    @classmethod
    def make_from_cmd_line(cls, **kwargs: Any) -> Self | None:
        """Make the script from the command line; it starts by itself.

        Parameters
        ----------
        **kwargs
            Further arguments of the constructor.

        Returns
        -------
        BaseScript or None
            None if only the schema was asked for; it has been printed.
        """
        parser = argparse.ArgumentParser(description=f"Run {cls.__name__}")
        parser.add_argument("index", type=int, nargs="?", help="SAL index; not 0")
        parser.add_argument(
            "--schema", action="store_true", help="print the schema of the configuration as YAML, and end"
        )
        args = parser.parse_args()
        if args.schema:
            schema = cls.get_schema()
            text = "" if schema is None else yaml.safe_dump(dict(schema), sort_keys=False)
            print(text, end="")  # noqa: T201 (this is the output of a program)
            return None
        if not args.index:
            parser.error("an index is needed, and it must not be 0")
        return cls(index=args.index, **kwargs)

    @classmethod
    async def amain(cls, **kwargs: Any) -> None:
        """Make the script from the command line and run it to its end.

        Parameters
        ----------
        **kwargs
            Further arguments of the constructor.

        Raises
        ------
        Exception
            What made the start or `cleanup` fail.
        SystemExit
            With status 1, unless the script is DONE or STOPPED.
        """
        script = cls.make_from_cmd_line(**kwargs)
        if script is None:
            return
        await script.done_task
        if script.state.state not in _SUCCESSES:
            sys.exit(1)
