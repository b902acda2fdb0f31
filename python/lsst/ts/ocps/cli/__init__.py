"""The command line: ``ocps`` and ``command_ocps``."""
