"""The SAL runtime: the Python API of ts_salobj 8 on aiokafka and fastavro.

Reach it through `lsst.ts.ocps.salobj`, which prefers an installed ts_salobj. Names are imported when they are
first used, so that a program pays only for what it needs. They are those of salobj-api sections 1 and 13.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lsst.ts.ocps import __version__

if TYPE_CHECKING:
    from . import base, base_csc, base_csc_test_case, base_script, controller, topics, type_hints
    from .annex import AsyncS3Bucket
    from .base_config_test_case import BaseConfigTestCase
    from .base_csc import HEARTBEAT_INTERVAL, BaseCsc
    from .base_csc_test_case import STD_TIMEOUT, STD_WITH_DUPLICATE_CHECK_TIMEOUT, BaseCscTestCase
    from .base_script import BaseScript
    from .commander import CscCommander
    from .configurable_csc import ConfigurableCsc
    from .configuration import hierarchical_update
    from .controller import SHUTDOWN_DELAY, Controller
    from .domain import Domain
    from .enums import SalRetCode, ScriptState, State, as_sal_ret_code, as_salRetCode, as_state
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
    from .functions import LOCAL_HOST, MAX_SAL_INDEX, get_user_host, name_to_name_index
    from .large_files import LargeFileAnnex, StoredFile
    from .log_handler import SalLogHandler
    from .remote import Remote
    from .salinfo import SalInfo
    from .states import get_expected_summary_states, make_state_transition_dict, set_summary_state
    from .stdin import stream_as_generator
    from .tai import current_tai, tai_from_utc_unix, utc_from_tai_unix
    from .testcsc import CONFIG_SCHEMA, TestCsc, run_test_csc
    from .testcsccommander import TestCscCommander, command_test_csc
    from .testing import (
        assertRaisesAckError,
        assertRaisesAckTimeoutError,
        delete_kafka_topics,
        make_mock_write_topics,
        set_random_lsst_dds_partition_prefix,
        set_test_topic_subname,
    )
    from .testscript import TestScript
    from .type_hints import AckCmdDataType, BaseDdsDataType, BaseMsgType, PathType
    from .utils import (
        MJD_MINUS_UNIX_SECONDS,
        SECONDS_PER_DAY,
        astropy_time_from_tai_unix,
        index_generator,
        make_done_future,
        modify_environ,
        tai_from_utc,
    )
    from .validator import DefaultingValidator, StandardValidator

__all__ = [
    "CONFIG_SCHEMA",
    "HEARTBEAT_INTERVAL",
    "LOCAL_HOST",
    "MAX_SAL_INDEX",
    "MJD_MINUS_UNIX_SECONDS",
    "SECONDS_PER_DAY",
    "SHUTDOWN_DELAY",
    "STD_TIMEOUT",
    "STD_WITH_DUPLICATE_CHECK_TIMEOUT",
    "AckCmdDataType",
    "AckError",
    "AckTimeoutError",
    "AsyncS3Bucket",
    "BaseConfigTestCase",
    "BaseCsc",
    "BaseCscTestCase",
    "BaseDdsDataType",
    "BaseMsgType",
    "BaseScript",
    "BrokerError",
    "ConfigurableCsc",
    "Controller",
    "CscCommander",
    "DecodeError",
    "DefaultingValidator",
    "Domain",
    "ExpectedError",
    "FieldError",
    "InterfaceError",
    "LargeFileAnnex",
    "PathType",
    "RegistryError",
    "Remote",
    "SalError",
    "SalInfo",
    "SalLogHandler",
    "SalRetCode",
    "SchemaNotFoundError",
    "SchemaRefusedError",
    "ScriptState",
    "SettingsError",
    "StandardValidator",
    "State",
    "StoredFile",
    "TestCsc",
    "TestCscCommander",
    "TestScript",
    "WildcardIndexError",
    "__version__",
    "as_salRetCode",
    "as_sal_ret_code",
    "as_state",
    "assertRaisesAckError",
    "assertRaisesAckTimeoutError",
    "astropy_time_from_tai_unix",
    "base",
    "base_csc",
    "base_csc_test_case",
    "base_script",
    "command_test_csc",
    "controller",
    "current_tai",
    "delete_kafka_topics",
    "get_expected_summary_states",
    "get_user_host",
    "hierarchical_update",
    "index_generator",
    "make_done_future",
    "make_mock_write_topics",
    "make_state_transition_dict",
    "modify_environ",
    "name_to_name_index",
    "run_test_csc",
    "set_random_lsst_dds_partition_prefix",
    "set_summary_state",
    "set_test_topic_subname",
    "stream_as_generator",
    "tai_from_utc",
    "tai_from_utc_unix",
    "topics",
    "type_hints",
    "utc_from_tai_unix",
]

_SUBMODULES = frozenset(
    {"base", "base_csc", "base_csc_test_case", "base_script", "controller", "topics", "type_hints"}
)
"""Modules whose paths programs written for ts_salobj use."""

_MODULES = {
    "AsyncS3Bucket": "annex",
    "BaseConfigTestCase": "base_config_test_case",
    "HEARTBEAT_INTERVAL": "base_csc",
    "BaseCsc": "base_csc",
    "STD_TIMEOUT": "base_csc_test_case",
    "STD_WITH_DUPLICATE_CHECK_TIMEOUT": "base_csc_test_case",
    "BaseCscTestCase": "base_csc_test_case",
    "BaseScript": "base_script",
    "CscCommander": "commander",
    "ConfigurableCsc": "configurable_csc",
    "hierarchical_update": "configuration",
    "SHUTDOWN_DELAY": "controller",
    "Controller": "controller",
    "Domain": "domain",
    "SalRetCode": "enums",
    "ScriptState": "enums",
    "State": "enums",
    "as_sal_ret_code": "enums",
    "as_salRetCode": "enums",
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
    "LOCAL_HOST": "functions",
    "MAX_SAL_INDEX": "functions",
    "get_user_host": "functions",
    "name_to_name_index": "functions",
    "LargeFileAnnex": "large_files",
    "StoredFile": "large_files",
    "SalLogHandler": "log_handler",
    "Remote": "remote",
    "SalInfo": "salinfo",
    "get_expected_summary_states": "states",
    "make_state_transition_dict": "states",
    "set_summary_state": "states",
    "stream_as_generator": "stdin",
    "current_tai": "tai",
    "tai_from_utc_unix": "tai",
    "utc_from_tai_unix": "tai",
    "CONFIG_SCHEMA": "testcsc",
    "TestCsc": "testcsc",
    "run_test_csc": "testcsc",
    "TestCscCommander": "testcsccommander",
    "command_test_csc": "testcsccommander",
    "TestScript": "testscript",
    "assertRaisesAckError": "testing",
    "assertRaisesAckTimeoutError": "testing",
    "delete_kafka_topics": "testing",
    "make_mock_write_topics": "testing",
    "set_random_lsst_dds_partition_prefix": "testing",
    "set_test_topic_subname": "testing",
    "AckCmdDataType": "type_hints",
    "BaseDdsDataType": "type_hints",
    "BaseMsgType": "type_hints",
    "PathType": "type_hints",
    "MJD_MINUS_UNIX_SECONDS": "utils",
    "SECONDS_PER_DAY": "utils",
    "astropy_time_from_tai_unix": "utils",
    "index_generator": "utils",
    "make_done_future": "utils",
    "modify_environ": "utils",
    "tai_from_utc": "utils",
    "DefaultingValidator": "validator",
    "StandardValidator": "validator",
}
"""Module of each name."""


if not TYPE_CHECKING:
    # A type checker sees the imports above, so that a misspelt name is an error to it.

    def __getattr__(name: str) -> Any:
        if name in _SUBMODULES:
            return importlib.import_module(f".{name}", __name__)
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
