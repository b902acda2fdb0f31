"""A base class for tests of configuration files (salobj-api section 12)."""

import importlib
import unittest
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .configurable_csc import ConfigurableCsc
from .configuration import get_schema_version
from .type_hints import PathType
from .validator import StandardValidator

__all__ = ["BaseConfigTestCase"]

Schema = Mapping[str, Any]


class BaseConfigTestCase:
    """Mix-in for `unittest.TestCase`: checks the configuration files of CSCs against their schemas."""

    def get_schema(
        self, csc_package_root: PathType, sal_name: str | None = None, schema_subpath: str | None = None
    ) -> dict[str, Any]:
        """Read the schema of a CSC from its package.

        Parameters
        ----------
        csc_package_root
            Root of the package.
        sal_name
            Name of the component; needed if there is no ``schema_subpath``.
        schema_subpath
            Where the schema is in the package; None: ``schema/<sal_name>.yaml``.

        Raises
        ------
        AssertionError
            If there is no such file.
        RuntimeError
            If neither a name nor a path is given.
        """
        if schema_subpath is None:
            if sal_name is None:
                raise RuntimeError("sal_name or schema_subpath is needed")
            schema_subpath = f"schema/{sal_name}.yaml"
        path = Path(csc_package_root) / schema_subpath
        if not path.is_file():
            raise AssertionError(f"{path} does not exist")
        schema: dict[str, Any] = yaml.safe_load(path.read_bytes())
        return schema

    def get_config_dir(self, config_package_root: PathType, sal_name: str, schema: Schema) -> Path:
        """Where the configuration files of a component are.

        Parameters
        ----------
        config_package_root
            Root of the configuration package.
        sal_name
            Name of the component.
        schema
            JSON Schema of its configuration; its title names the version.

        Raises
        ------
        ValueError
            If the title of the schema names no version.
        """
        return Path(config_package_root) / sal_name / get_schema_version(schema)

    def check_config_files(
        self, config_dir: PathType, schema: Schema | None, exclude_glob: str | None = None
    ) -> None:
        """Check every file of a directory as the ``start`` command would read it.

        Each site file is laid over ``_init.yaml``, and each override file over each of these.

        Parameters
        ----------
        config_dir
            The directory.
        schema
            JSON Schema of the configuration; None: the component has none, and no file is checked.
        exclude_glob
            Names of files that are left out; None: none.

        Raises
        ------
        AssertionError
            If the directory or ``_init.yaml`` is missing, or a file is not valid; names the files.
        """
        directory = Path(config_dir)
        if schema is None:
            return
        if not (directory / "_init.yaml").is_file():
            raise AssertionError(f"{directory} has no _init.yaml")
        validator = StandardValidator(schema)
        for names in _list_combinations(directory, exclude_glob):
            try:
                ConfigurableCsc.read_config_files(validator, directory, names)
            except Exception as error:
                raise AssertionError(f"{directory}: {', '.join(names)}: {error}") from error

    def check_standard_config_files(
        self,
        module_name: str,
        schema_name: str = "CONFIG_SCHEMA",
        sal_name: str | None = None,
        config_package_root: PathType | None = None,
        config_dir: PathType | None = None,
    ) -> None:
        """Check the configuration files of a CSC whose package can be imported.

        Parameters
        ----------
        module_name
            Such as ``lsst.ts.ocps``; the schema is in it or in its module ``config_schema``.
        schema_name
            Name of the schema there; a mapping, or text in YAML or JSON.
        sal_name
            Name of the component; needed if there is no ``config_dir``.
        config_package_root
            Root of the configuration package; needed if there is no ``config_dir``.
        config_dir
            The directory; None: found by the version of the schema.

        Raises
        ------
        unittest.SkipTest
            If the module cannot be imported.
        AssertionError
            As `check_config_files` says.
        ModuleNotFoundError, AttributeError
            If the schema is neither in the module nor in its ``config_schema``.
        RuntimeError
            If the arguments do not tell where the files are.
        """
        schema = _import_schema(module_name, schema_name)
        if config_dir is None:
            if sal_name is None or config_package_root is None:
                raise RuntimeError("config_dir, or sal_name and config_package_root, are needed")
            config_dir = self.get_config_dir(config_package_root, sal_name, schema)
        self.check_config_files(config_dir, schema)


def _list_combinations(directory: Path, exclude_glob: str | None) -> Iterator[list[str]]:
    excluded = set(directory.glob(exclude_glob)) if exclude_glob else set()
    names = sorted(path.name for path in directory.glob("*.yaml") if path not in excluded)
    sites = ["", *(name for name in names if name.startswith("_") and name != "_init.yaml")]
    overrides = ["", *(name for name in names if not name.startswith("_"))]
    for site in sites:
        for override in overrides:
            yield [name for name in ("_init.yaml", site, override) if name]


def _import_schema(module_name: str, schema_name: str) -> Schema:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise unittest.SkipTest(f"{module_name} cannot be imported: {error}") from error
    if not hasattr(module, schema_name):
        module = importlib.import_module(f"{module_name}.config_schema")
    schema = getattr(module, schema_name)
    loaded: Schema = yaml.safe_load(schema) if isinstance(schema, str) else schema
    return loaded
