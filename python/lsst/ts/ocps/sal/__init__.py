"""The SAL runtime: the Python API of ts_salobj 8 on aiokafka and fastavro.

Reach it through `lsst.ts.ocps.salobj`, which prefers an installed ts_salobj. Names are imported when they are
first used, so that a program pays only for what it needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import topics
    from .base_csc import HEARTBEAT_INTERVAL, BaseCsc
    from .commander import CscCommander
    from .configurable_csc import ConfigurableCsc
    from .configuration import hierarchical_update
    from .controller import Controller
    from .data_type import BaseMsgType
    from .domain import Domain
    from .enums import SalRetCode, State, as_sal_ret_code, as_salRetCode, as_state
    from .errors import (
        AckError,
        AckTimeoutError,
        BrokerError,
        DecodeError,
        ExpectedError,
        FieldError,
        InterfaceError,
        RegistryError,
        SalError,
        SchemaNotFoundError,
        SchemaRefusedError,
        SettingsError,
        WildcardIndexError,
    )
    from .functions import MAX_SAL_INDEX, get_user_host, name_to_name_index
    from .log_handler import SalLogHandler
    from .remote import Remote
    from .salinfo import SalInfo
    from .states import get_expected_summary_states, make_state_transition_dict, set_summary_state
    from .tai import current_tai, tai_from_utc_unix, utc_from_tai_unix
    from .testing import (
        BaseCscTestCase,
        assertRaisesAckError,
        assertRaisesAckTimeoutError,
        set_test_topic_subname,
    )

__all__ = [
    "HEARTBEAT_INTERVAL",
    "MAX_SAL_INDEX",
    "AckError",
    "AckTimeoutError",
    "BaseCsc",
    "BaseCscTestCase",
    "BaseMsgType",
    "BrokerError",
    "ConfigurableCsc",
    "Controller",
    "CscCommander",
    "DecodeError",
    "Domain",
    "ExpectedError",
    "FieldError",
    "InterfaceError",
    "RegistryError",
    "Remote",
    "SalError",
    "SalInfo",
    "SalLogHandler",
    "SalRetCode",
    "SchemaNotFoundError",
    "SchemaRefusedError",
    "SettingsError",
    "State",
    "WildcardIndexError",
    "as_salRetCode",
    "as_sal_ret_code",
    "as_state",
    "assertRaisesAckError",
    "assertRaisesAckTimeoutError",
    "current_tai",
    "get_expected_summary_states",
    "get_user_host",
    "hierarchical_update",
    "make_state_transition_dict",
    "name_to_name_index",
    "set_summary_state",
    "set_test_topic_subname",
    "tai_from_utc_unix",
    "topics",
    "utc_from_tai_unix",
]

_MODULES = {
    "BaseCsc": "base_csc",
    "HEARTBEAT_INTERVAL": "base_csc",
    "CscCommander": "commander",
    "ConfigurableCsc": "configurable_csc",
    "hierarchical_update": "configuration",
    "Controller": "controller",
    "BaseMsgType": "data_type",
    "Domain": "domain",
    "SalRetCode": "enums",
    "State": "enums",
    "as_salRetCode": "enums",
    "as_sal_ret_code": "enums",
    "as_state": "enums",
    "AckError": "errors",
    "AckTimeoutError": "errors",
    "BrokerError": "errors",
    "DecodeError": "errors",
    "ExpectedError": "errors",
    "FieldError": "errors",
    "InterfaceError": "errors",
    "RegistryError": "errors",
    "SalError": "errors",
    "SchemaNotFoundError": "errors",
    "SchemaRefusedError": "errors",
    "SettingsError": "errors",
    "WildcardIndexError": "errors",
    "MAX_SAL_INDEX": "functions",
    "get_user_host": "functions",
    "name_to_name_index": "functions",
    "SalLogHandler": "log_handler",
    "Remote": "remote",
    "SalInfo": "salinfo",
    "get_expected_summary_states": "states",
    "make_state_transition_dict": "states",
    "set_summary_state": "states",
    "current_tai": "tai",
    "tai_from_utc_unix": "tai",
    "utc_from_tai_unix": "tai",
    "BaseCscTestCase": "testing",
    "assertRaisesAckError": "testing",
    "assertRaisesAckTimeoutError": "testing",
    "set_test_topic_subname": "testing",
}
"""Module of each name."""


if not TYPE_CHECKING:
    # A type checker sees the imports above, so that a misspelt name is an error to it.

    def __getattr__(name: str) -> Any:
        if name == "topics":
            return importlib.import_module(".topics", __name__)
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
