"""What can go wrong for an observer.

::

    ObserverError
    ├── NoCscError           nothing was ever heard of this CSC, or it does not tell what was asked
    ├── MissingTopicError    the installed SAL interface is too old for what was asked
    ├── StateChangeError     the CSC did not take the wanted state
    └── CommandFailedError   a command was refused or failed; carries the acknowledgement's text
        └── NoAnswerError    no acknowledgement came in time
"""

__all__ = [
    "CommandFailedError",
    "MissingTopicError",
    "NoAnswerError",
    "NoCscError",
    "ObserverError",
    "StateChangeError",
]


class ObserverError(Exception):
    """An observer cannot see or do what was asked."""


class NoCscError(ObserverError):
    """Nothing was ever heard of this CSC, or it does not tell what was asked.

    Parameters
    ----------
    index
        SAL index of the CSC.
    missing
        What was waited for.
    """

    def __init__(self, index: int, missing: str) -> None:
        super().__init__(f"OCPS:{index} tells no {missing}: is a CSC with this index running?")
        self.index = index


class MissingTopicError(ObserverError):
    """The installed SAL interface is too old for what was asked.

    Parameters
    ----------
    name
        Attribute name of the topic that it lacks.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the installed SAL interface has no topic {name} of OCPS")
        self.name = name


class StateChangeError(ObserverError):
    """The CSC did not take the wanted state; the message says why."""


class CommandFailedError(ObserverError):
    """A command was refused or failed; the message is the text of the acknowledgement."""


class NoAnswerError(CommandFailedError):
    """No acknowledgement came in time."""
