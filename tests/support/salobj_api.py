"""What ts_salobj 8 offers, object by object, and what ours adds: the measure of what the CSC may use.

Taken from the description of its Python API; private names are left out, for nobody may use them.
"""

from collections.abc import Mapping

__all__ = ["KEYWORDS", "MEMBERS", "MODULE", "OURS", "OUR_MEMBERS", "UTILS", "is_offered"]

MODULE = frozenset(
    {
        *("BaseCsc", "ConfigurableCsc", "Controller", "Remote", "Domain", "SalInfo", "topics"),
        *("ExpectedError", "AckError", "AckTimeoutError", "State", "SalRetCode", "set_summary_state"),
        *("name_to_name_index", "AsyncS3Bucket", "CscCommander", "BaseScript", "BaseCscTestCase"),
        "TestScript",
        *("assertRaisesAckError", "set_test_topic_subname", "assertRaisesAckTimeoutError"),
        *("BaseConfigTestCase", "StandardValidator", "DefaultingValidator", "hierarchical_update"),
        *("get_expected_summary_states", "make_state_transition_dict", "SalLogHandler"),
        *("make_mock_write_topics", "delete_kafka_topics", "get_user_host", "WildcardIndexError"),
        *("as_state", "as_salRetCode", "MAX_SAL_INDEX", "stream_as_generator", "BaseMsgType"),
        *("AckCmdDataType", "PathType", "__version__"),
    }
)
"""Names in ``lsst.ts.salobj``."""

UTILS = frozenset(
    {
        *("current_tai", "tai_from_utc", "tai_from_utc_unix", "utc_from_tai_unix", "index_generator"),
        *("astropy_time_from_tai_unix", "make_done_future", "modify_environ", "SECONDS_PER_DAY"),
        *("MJD_MINUS_UNIX_SECONDS", "angle_diff", "angle_wrap_center", "angle_wrap_nonnegative"),
    }
)
"""Names in ``lsst.ts.utils``."""

OURS = frozenset(
    {
        *("RUNTIME", "SalError", "BrokerError", "RegistryError", "SettingsError", "as_sal_ret_code"),
        "ScriptState",
    }
)
"""What ``lsst.ts.ocps.salobj`` adds whichever runtime is in use: which one it is, and our kinds of errors."""

_TOPIC = {"salinfo", "topic_info", "attr_name", "sal_name", "rev_code", "DataType", "log", "isopen"}
_WRITE = _TOPIC | {"set", "set_write", "write", "data", "has_data", "default_force_output"}
_READ = _TOPIC | {
    *("get", "aget", "get_oldest", "next", "flush", "has_data", "nqueued", "callback", "has_callback"),
    *("max_history", "allow_multiple_callbacks"),
}
_CONTROLLER = {
    *("salinfo", "domain", "log", "isopen", "start_called", "start_task", "done_task"),
    *("delay_start_event", "start", "start_phase2", "close", "close_tasks", "do_setLogLevel"),
    "put_log_level",
}
_STATE_COMMANDS = ("start", "enable", "disable", "standby", "exitControl")
_CSC = _CONTROLLER | {
    *("version", "valid_simulation_modes", "default_initial_state", "enable_cmdline_state"),
    *("simulation_help", "summary_state", "disabled_or_enabled", "simulation_mode"),
    *("check_if_duplicate", "heartbeat_interval", "set_simulation_mode", "implement_simulation_mode"),
    *(f"{step}_{name}" for step in ("begin", "end", "do") for name in _STATE_COMMANDS),
    *("handle_summary_state", "fault", "assert_enabled", "amain", "make_from_cmd_line"),
    *("add_arguments", "add_kwargs_from_args", "signal_handler", "config_dir", "config_validator"),
    *("schema_version", "site", "read_config_dir_interval", "read_config_dir_task", "configure"),
    *("get_config_pkg", "read_config_files", "read_config_dir"),
}

MEMBERS: Mapping[str, frozenset[str]] = {
    "ConfigurableCsc": frozenset(_CSC),
    "Controller": frozenset(_CONTROLLER),
    "CscCommander": frozenset(
        {
            *("domain", "remote", "help_dict", "command_dict", "enable", "testing", "output_queue", "tasks"),
            *("fields_to_ignore", "close", "add_arguments", "add_kwargs_from_args", "format_item"),
            *("format_dict", "format_data", "field_is_public", "get_public_data", "output", "start"),
            *("get_rounded_public_data", "event_callback", "telemetry_callback", "check_arguments"),
            *("run_command", "get_commands_help", "print_help", "amain", "make_from_cmd_line"),
        }
    ),
    "Remote": frozenset({"salinfo", "start_called", "start_task", "start", "close"}),
    "Domain": frozenset(
        {
            *("isopen", "done_task", "user_host", "default_identity", "origin", "salinfo_set"),
            *("num_read_loops", "close", "basic_close"),
        }
    ),
    "SalInfo": frozenset(
        {
            *("name", "index", "indexed", "name_index", "identity", "command_names", "event_names"),
            *("telemetry_names", "sal_topic_names", "log", "isopen", "start_called", "start_task"),
            *("done_task", "started", "running", "assert_started", "assert_running", "domain"),
            *("make_ackcmd", "AckCmdType", "component_info"),
        }
    ),
    "written topic": frozenset(_WRITE),
    "received command": frozenset(_READ | {"ack", "ack_in_progress"}),
    "read topic": frozenset(_READ),
    "sent command": frozenset(_TOPIC | {"set", "start", "set_start", "next_ackcmd", "data"}),
    "AckError": frozenset({"ackcmd", "args"}),
    "AsyncS3Bucket": frozenset(
        {
            *("name", "profile", "service_resource", "bucket", "mock", "stop_mock", "make_bucket_name"),
            *("make_key", "upload", "download", "exists", "size"),
        }
    ),
}
"""Attributes and methods by kind of object. Topics (``cmd_x``, ``evt_x``, ``tel_x``) are attributes too."""

OUR_MEMBERS: Mapping[str, frozenset[str]] = {
    "received command": frozenset({"kafka_name", "max_age", "read_missed", "refuse", "settled_offset"}),
    "read topic": frozenset({"read_before_start"}),
}
"""What only our runtime offers; ``csc/outlet.py`` looks whether it is there, and nobody else may."""

KEYWORDS: Mapping[str, frozenset[str]] = {
    "ConfigurableCsc.__init__": frozenset(
        {
            *("name", "index", "config_schema", "config_dir", "check_if_duplicate", "initial_state"),
            *("override", "simulation_mode", "extra_commands", "discard_out_of_order_telemetry"),
            "discard_out_of_order_events",
        }
    ),
    "AsyncS3Bucket.__init__": frozenset({"name", "create", "profile", "domock"}),
    "AsyncS3Bucket.make_key": frozenset(
        {"salname", "salindexname", "generator", "date", "other", "stem", "suffix"}
    ),
    "ConfigurableCsc.amain": frozenset({"index"}),
    "ConfigurableCsc.fault": frozenset({"code", "report", "traceback"}),
    "ConfigurableCsc.assert_enabled": frozenset({"action"}),
    "CscCommander.__init__": frozenset(
        {
            *("name", "index", "enable", "exclude", "exclude_commands", "fields_to_ignore"),
            *("telemetry_fields_to_not_compare", "telemetry_fields_compare_digits"),
        }
    ),
    "CscCommander.amain": frozenset({"index"}),
    "Remote.__init__": frozenset(
        {
            *("readonly", "include", "exclude", "evt_max_history", "start", "num_messages"),
            *("consume_messages_timeout", "discard_out_of_order_telemetry", "discard_out_of_order_events"),
        }
    ),
    "SalInfo.make_ackcmd": frozenset({"private_seqNum", "ack", "error", "result", "timeout"}),
    "written topic.set_write": frozenset({"force_output"}),
    "received command.ack_in_progress": frozenset({"timeout", "result"}),
    "read topic.next": frozenset({"flush", "timeout"}),
    "read topic.aget": frozenset({"timeout"}),
    "sent command.set_start": frozenset({"timeout", "wait_done"}),
    "sent command.start": frozenset({"data", "timeout", "wait_done"}),
    "sent command.next_ackcmd": frozenset({"timeout", "wait_done"}),
    "module.set_summary_state": frozenset({"override", "timeout"}),
}
"""Keywords by method; those of ``set_write`` and ``set_start`` besides the fields of the topic."""

_TOPIC_PREFIXES = ("cmd_", "evt_", "tel_")


def is_offered(kind: str, name: str) -> bool:
    """Whether objects of a kind have a public attribute, as ts_salobj describes it.

    Parameters
    ----------
    kind
        A key of `MEMBERS`.
    name
        The attribute.
    """
    has_topics = kind in {"ConfigurableCsc", "Controller", "Remote"}
    return name in MEMBERS[kind] or (has_topics and name.startswith(_TOPIC_PREFIXES))
