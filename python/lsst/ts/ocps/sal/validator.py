"""Check configurations, and fill in defaults where a script wants that (salobj-api section 12)."""

import copy
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft7Validator

__all__ = ["DefaultingValidator", "StandardValidator"]

StandardValidator = Draft7Validator
"""Checks a configuration against a JSON Schema (draft 7); defaults are not filled in."""

_LEVELS = 2
"""Defaults are filled in at the top and in the mappings just below."""


class DefaultingValidator:
    """Checks a configuration after filling in the defaults of its schema, two levels deep.

    Parameters
    ----------
    schema
        JSON Schema (draft 7).

    Raises
    ------
    jsonschema.exceptions.SchemaError
        If the schema is none.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        Draft7Validator.check_schema(schema)
        self.schema = schema
        self.final_validator = StandardValidator(schema)

    def validate(self, data_dict: Mapping[str, Any] | None) -> dict[str, Any]:
        """Fill in the defaults, then check.

        Parameters
        ----------
        data_dict
            The configuration, which is not changed; None: an empty one.

        Returns
        -------
        dict
            A copy with the defaults.

        Raises
        ------
        jsonschema.exceptions.ValidationError
            If the outcome is not valid.
        """
        filled = copy.deepcopy(dict(data_dict or {}))
        _fill_in(filled, self.schema, _LEVELS)
        self.final_validator.validate(filled)
        return filled


def _fill_in(values: dict[str, Any], schema: Mapping[str, Any], levels: int) -> None:
    for name, subschema in schema.get("properties", {}).items():
        if not isinstance(subschema, Mapping):
            continue
        if "default" in subschema:
            values.setdefault(name, copy.deepcopy(subschema["default"]))
        below = values.get(name, {})
        if levels > 1 and isinstance(below, dict):
            _fill_in(below, subschema, levels - 1)
            if below:
                values[name] = below
