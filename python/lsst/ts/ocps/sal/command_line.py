"""The command line of a CSC (sal-on-kafka section 12)."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from .enums import State
from .index_argument import IndexRule, add_index, take_index

if TYPE_CHECKING:
    from .base_csc import BaseCsc

__all__ = ["CommandLine"]

_STATES = (State.OFFLINE, State.STANDBY, State.DISABLED, State.ENABLED)


class CommandLine:
    """Makes and runs a CSC from the command line."""

    enable_cmdline_state: ClassVar[bool]
    valid_simulation_modes: ClassVar[Sequence[int] | None]
    simulation_help: ClassVar[str | None]
    version: ClassVar[str]

    @classmethod
    async def amain(cls, index: IndexRule, **kwargs: Any) -> None:
        """Make the CSC from the command line and run it to its end.

        Parameters
        ----------
        index
            Which index the command line has to give.
        **kwargs
            Further arguments of the constructor.

        Raises
        ------
        Exception
            What made the start fail.
        """
        # Whatever subclass this is, it is a BaseCsc: the mix-in has no other user.
        csc = cast("BaseCsc", cls.make_from_cmd_line(index=index, check_if_duplicate=True, **kwargs))
        await csc.done_task
        await csc.close()

    @classmethod
    def make_from_cmd_line(cls, index: IndexRule, check_if_duplicate: bool = False, **kwargs: Any) -> Self:
        """Make the CSC from the command line; it starts by itself.

        Parameters
        ----------
        index
            Which index the command line has to give.
        check_if_duplicate
            Whether to refuse to start while another instance is alive.
        **kwargs
            Further arguments of the constructor.
        """
        parser = cls._make_parser(index)
        cls.add_arguments(parser)
        args = parser.parse_args()
        kwargs |= take_index(args, index)
        cls._add_standard_kwargs(args, kwargs)
        cls.add_kwargs_from_args(args, kwargs)
        made = cls(**kwargs)
        csc = cast("BaseCsc", made)
        csc.check_if_duplicate = check_if_duplicate
        if args.loglevel is not None:
            csc.log.setLevel(args.loglevel)
        return made

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add arguments of a subclass; overriding methods call it."""

    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        """Turn the arguments of a subclass into those of its constructor; overriding methods call it."""

    @classmethod
    def _make_parser(cls, index: IndexRule) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(description=f"Run {cls.__name__}")
        add_index(parser, index)
        parser.add_argument("--version", action="version", version=cls.version)
        parser.add_argument(
            "--loglevel", type=int, help="log level, as in Python: 10 debug, 20 info, 30 warning"
        )
        if cls.enable_cmdline_state:
            states = [state.name.lower() for state in _STATES]
            parser.add_argument("--state", choices=states, help="initial state")
            parser.add_argument("--override", default="", help="configuration override for the start command")
        cls._add_simulate(parser)
        return parser

    @classmethod
    def _add_simulate(cls, parser: argparse.ArgumentParser) -> None:
        modes = sorted(cls.valid_simulation_modes or ())
        text = cls.simulation_help or "simulation mode"
        if len(modes) == 2 and 0 in modes:
            other = modes[0] or modes[1]
            parser.add_argument("--simulate", action="store_const", const=other, default=0, help=text)
        elif len(modes) > 1:
            parser.add_argument("--simulate", type=int, choices=modes, default=0, help=text)

    @classmethod
    def _add_standard_kwargs(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        if cls.enable_cmdline_state:
            if args.state is not None:
                kwargs["initial_state"] = State[args.state.upper()]
            kwargs["override"] = args.override
        if hasattr(args, "simulate"):
            kwargs["simulation_mode"] = args.simulate
