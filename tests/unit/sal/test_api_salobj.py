import subprocess
import sys

import pytest

from lsst.ts.ocps import sal, salobj


def test_without_ts_salobj_the_names_are_those_of_our_runtime() -> None:
    assert salobj.RUNTIME == "builtin"
    for name in set(salobj.__all__) - {"RUNTIME"}:
        assert getattr(salobj, name) is getattr(sal, name)


def test_every_public_name_of_the_runtime_exists() -> None:
    for name in sal.__all__:
        assert getattr(sal, name) is not None
    assert set(sal.__all__) <= set(dir(sal))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nosuch"):
        _ = salobj.nosuch  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nosuch"):
        _ = sal.nosuch  # type: ignore[attr-defined]


FAKE = """
import sys, types
for name in ("lsst.ts.salobj", "lsst.ts.utils"):
    module = types.ModuleType(name)
    module.__spec__ = types.SimpleNamespace(name=name)
    sys.modules[name] = module
sys.modules["lsst.ts.salobj"].Remote = "their Remote"
sys.modules["lsst.ts.utils"].current_tai = "their clock"
from lsst.ts.ocps import salobj
print(salobj.RUNTIME, salobj.Remote, salobj.current_tai, salobj.BrokerError.__module__)
"""


def run(code: str, runtime: str) -> subprocess.CompletedProcess[str]:
    environment = {"OCPS_SAL_RUNTIME": runtime}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_an_installed_ts_salobj_is_preferred_and_what_it_lacks_is_ours() -> None:
    done = run(FAKE, "")
    assert done.stdout.split() == [
        "ts_salobj",
        *(["their", "Remote"]),
        *(["their", "clock"]),
        "lsst.ts.ocps.sal.errors",
    ]


def test_the_environment_forces_our_runtime() -> None:
    assert run(FAKE, "builtin").stdout.startswith("builtin <class 'lsst.ts.ocps.sal.remote.Remote'>")


def test_an_unknown_runtime_is_refused_by_name() -> None:
    assert "OCPS_SAL_RUNTIME='other' is neither" in run("import lsst.ts.ocps.salobj", "other").stderr
