"""Drive a CSC from the keyboard (salobj-api section 10, sal-on-kafka section 15)."""

import argparse
import asyncio
import functools
import inspect
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from enum import IntEnum
from typing import Any, Self

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .data_format import DataFormatter
from .data_type import BaseMsgType
from .domain import Domain
from .enums import State, as_state
from .errors import AckError, SalError
from .index_argument import IndexRule, add_index, take_index
from .remote import Remote
from .states import set_summary_state
from .stdin import stream_as_generator
from .topics.read_topic import ReadTopic
from .typed_words import make_fields

__all__ = ["CscCommander"]

EXIT_PATIENCE = 5.0
"""How long the end of the program waits for commands under way (s)."""

_QUIET_EVENTS = frozenset({"heartbeat"})
_LOG_FIELDS = ("name", "level", "message", "traceback")


class CscCommander(DataFormatter):
    """Reads command lines, sends them, and shows what the CSC publishes.

    Methods ``do_x(args)`` replace or add commands, ``evt_x_callback(data)`` and ``tel_x_callback(data)``
    replace how a topic is shown.

    Parameters
    ----------
    name
        Name of the component.
    index
        Its index.
    enable
        Whether to bring the CSC to ENABLED first.
    exclude
        Events and telemetry that are not read.
    exclude_commands
        Commands that are not offered.
    fields_to_ignore
        Fields that are neither asked for nor shown.
    telemetry_fields_to_not_compare
        Telemetry fields whose changes alone are not shown.
    telemetry_fields_compare_digits
        Digits to which single telemetry fields are rounded before they are compared; the others: 2.
    """

    def __init__(  # noqa: PLR0917 (the API)
        self,
        name: str,
        index: int | IntEnum | None = 0,
        enable: bool = False,
        exclude: Iterable[str] | None = None,
        exclude_commands: Sequence[str] = (),
        fields_to_ignore: Sequence[str] = ("ignored", "value"),
        telemetry_fields_to_not_compare: Sequence[str] = ("timestamp",),
        telemetry_fields_compare_digits: dict[str, int] | None = None,
    ) -> None:
        self.domain = Domain()
        self.remote = Remote(self.domain, name, index, exclude=exclude)
        self.enable = enable
        super().__init__(fields_to_ignore, telemetry_fields_compare_digits)
        self.telemetry_fields_to_not_compare = tuple(telemetry_fields_to_not_compare)
        self.testing = False
        self.output_queue: deque[str] = deque()
        self.help_dict: dict[str, str] = {}
        self.tasks = TaskSupervisor(f"command {name}")
        self._commands_under_way: set[asyncio.Task[None]] = set()
        self._last_telemetry: dict[str, dict[str, Any]] = {}
        self.command_dict = {
            command: getattr(self.remote, f"cmd_{command}")
            for command in self.remote.salinfo.command_names
            if command not in exclude_commands
        }
        self.start_task = asyncio.create_task(self.start(), name=f"command {name}:start")

    # Life

    async def start(self) -> None:
        """Wait for the CSC's topics, show them, and enable the CSC if that is wanted."""
        await self.remote.start_task
        if self.enable:
            self.output(f"Enabling {self.remote.salinfo.name_index}")
            states = await set_summary_state(self.remote, State.ENABLED)
            self.output(f"Went through {', '.join(state.name for state in states)}")
        for topic in vars(self.remote).values():
            if isinstance(topic, ReadTopic):
                self._show_topic(topic)

    def _show_topic(self, topic: ReadTopic) -> None:
        kind, _, name = topic.attr_name.partition("_")
        if name in _QUIET_EVENTS and not hasattr(self, f"{topic.attr_name}_callback"):
            return
        default: Callable[..., Any] = self.event_callback if kind == "evt" else self.telemetry_callback
        callback = getattr(self, f"{topic.attr_name}_callback", functools.partial(default, name=name))
        # Setting a callback empties the queue: show what is there first.
        while (data := topic.get_oldest()) is not None:
            _ = self.tasks.start(_call(callback, data), name=f"show {topic.attr_name}")
        topic.callback = callback

    async def close(self) -> None:
        """Stop; the CSC is left alone."""
        self.start_task.cancel()
        await self.tasks.aclose()
        await self.remote.close()
        await self.domain.close()

    async def __aenter__(self) -> Self:
        await self.start_task
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Showing

    def output(self, msg: str) -> None:
        """Show a line; with ``testing`` it is put into ``output_queue`` too."""
        print(msg, flush=True)  # noqa: T201 (this is a program's output)
        if self.testing:
            self.output_queue.append(msg)

    async def event_callback(self, data: BaseMsgType, name: str) -> None:
        """Show an event."""
        fields = self.get_public_data(data)
        if name == "summaryState":
            text = f"summaryState={as_state(data.summaryState)!r}"
        elif name == "logMessage":
            shown = {key: fields[key] for key in _LOG_FIELDS if key != "traceback" or fields[key]}
            text = self.format_dict(shown)
        else:
            text = self.format_dict(fields)
        self._output_sample(data, name, text)

    async def telemetry_callback(self, data: BaseMsgType, name: str, digits: int = 2) -> None:
        """Show telemetry if it has changed.

        Parameters
        ----------
        data
            The sample.
        name
            Name of the topic.
        digits
            Digits after the decimal point that count as a change.
        """
        rounded = self.get_rounded_public_data(data, digits=digits)
        compared = {
            key: value for key, value in rounded.items() if key not in self.telemetry_fields_to_not_compare
        }
        if self._last_telemetry.get(name) == compared:
            return
        self._last_telemetry[name] = compared
        self._output_sample(data, name, self.format_dict(rounded))

    def _output_sample(self, data: BaseMsgType, name: str, text: str) -> None:
        separator = ": " if text else ""
        self.output(f"{data.private_sndStamp:0.3f}: {name}{separator}{text}")

    # Commands

    def check_arguments(
        self, args: Sequence[str], *names: str | tuple[str, Callable[[str], Any]]
    ) -> dict[str, Any]:
        """Turn arguments into fields.

        Parameters
        ----------
        args
            As typed.
        *names
            Of each argument its name (then it is a float), or name and cast.

        Raises
        ------
        RuntimeError
            If there are too few or too many.
        ValueError
            If one cannot be cast.
        """
        required: list[tuple[str, Callable[[str], Any]]] = [
            (name, float) if isinstance(name, str) else name for name in names
        ]
        if len(args) != len(required):
            listed = " ".join(name for name, _ in required)
            raise RuntimeError(f"Need {len(required)} arguments ({listed}), got {len(args)}")
        return {name: cast(arg) for (name, cast), arg in zip(required, args, strict=True)}

    async def run_command(self, line: str) -> None:
        """Run one command line; errors are the caller's.

        Parameters
        ----------
        line
            As typed; words are split as by a shell.
        """
        words = shlex.split(line)
        if not words or words[0].startswith("#"):
            return
        name, args = words[0], words[1:]
        method = getattr(self, f"do_{name}", None)
        if method is not None:
            outcome = method(args)
            if inspect.isawaitable(outcome):
                await outcome
        elif name == "help":
            self.print_help()
            return
        elif name in self.command_dict:
            await self._send(name, args)
        else:
            self.output(f"Unrecognized command: {name}")
            return
        self.output(f"Finished command {name}")

    async def _send(self, name: str, args: list[str]) -> None:
        command = self.command_dict[name]
        infos = [info for info in command.topic_info.fields.values() if self.field_is_public(info.name)]
        if name == "start" and not args:
            args = [""]
        await command.set_start(**make_fields(name, infos, args))

    def get_commands_help(self) -> str:
        """One line for each command: its name and fields."""
        lines = {
            name: " ".join(filter(self.field_is_public, command.topic_info.fields))
            for name, command in self.command_dict.items()
        }
        return "\n".join(
            f"{name} {text}".rstrip() for name, text in sorted({**lines, **self.help_dict}.items())
        )

    def print_help(self) -> None:
        """Show the commands."""
        self.output(f"{self.get_commands_help()}\nexit  # quit; the CSC is left alone\nhelp  # print this")

    # The program

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add arguments of a subclass; overriding methods call it."""

    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        """Turn the arguments of a subclass into those of its constructor; overriding methods call it."""

    @classmethod
    def make_from_cmd_line(cls, index: IndexRule, **kwargs: Any) -> Self:
        """Make the commander from the command line.

        Parameters
        ----------
        index
            Which index the command line has to give.
        **kwargs
            Further arguments of the constructor.
        """
        parser = argparse.ArgumentParser(description="Command a CSC: type help for help")
        add_index(parser, index)
        parser.add_argument("-e", "--enable", action="store_true", help="bring the CSC to ENABLED first")
        cls.add_arguments(parser)
        args = parser.parse_args()
        kwargs |= take_index(args, index)
        cls.add_kwargs_from_args(args, kwargs)
        return cls(enable=args.enable, **kwargs)

    @classmethod
    async def amain(cls, *, index: IndexRule, **kwargs: Any) -> None:
        """Make the commander and run commands from standard input until ``exit`` or the end of input.

        Parameters
        ----------
        index, **kwargs
            As for `make_from_cmd_line`.
        """
        commander = cls.make_from_cmd_line(index=index, **kwargs)
        async with commander, aclosing(stream_as_generator(sys.stdin, "exit")) as lines:
            commander.print_help()
            async for line in lines:
                commander.start_command(line)
            # What was sent just before the end of a script is still answered.
            await commander.wait_for_commands()

    def start_command(self, line: str) -> None:
        """Run one command line in the background.

        Parameters
        ----------
        line
            As typed.
        """
        task = self.tasks.start(self.try_command(line), name=line.strip())
        self._commands_under_way.add(task)
        task.add_done_callback(self._commands_under_way.discard)

    async def wait_for_commands(self) -> None:
        """Wait for the ends of the commands that have been sent, for a short time at most."""
        if self._commands_under_way:
            await asyncio.wait(set(self._commands_under_way), timeout=EXIT_PATIENCE)

    async def try_command(self, line: str) -> None:
        """Run one command line and show its error, if there is one.

        Parameters
        ----------
        line
            As typed.
        """
        try:
            await self.run_command(line)
        except (AckError, SalError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            self.output(f"Command {line.strip()!r} failed: {error}")


async def _call(callback: Callable[[BaseMsgType], Any], data: BaseMsgType) -> None:
    outcome = callback(data)
    if inspect.isawaitable(outcome):
        await outcome
