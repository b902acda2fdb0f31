"""Errors and small functions, where programs written for ts_salobj look for them.

Source: salobj-api section 1 (submodule paths in use).
"""

from .errors import AckError, AckTimeoutError, ExpectedError
from .functions import MAX_SAL_INDEX, get_user_host, name_to_name_index

__all__ = [
    "MAX_SAL_INDEX",
    "AckError",
    "AckTimeoutError",
    "ExpectedError",
    "get_user_host",
    "name_to_name_index",
]
