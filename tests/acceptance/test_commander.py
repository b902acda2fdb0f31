"""``command_ocps`` as people use it: lines in, news out."""

import subprocess
import sys

import pytest

from support.sandbox import SandboxFolder, read_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(240), pytest.mark.xdist_group("running_sandbox")]

PROGRAM = "from lsst.ts.ocps.cli.commander import command_ocps; command_ocps()"


def test_commands_are_typed_and_their_news_are_shown(running_sandbox: SandboxFolder) -> None:
    with subprocess.Popen(
        (sys.executable, "-c", PROGRAM, "1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=running_sandbox.environment,
    ) as commander:
        try:
            assert commander.stdin is not None
            helped = read_until(commander, "help  #")
            assert "run payload [key=value | key:=JSON]..." in helped
            commander.stdin.write("run source-catalog threshold=6\n")
            commander.stdin.flush()
            shown = read_until(commander, "Finished command run")
            # Nothing orders the records of different topics.
            if "metric_name=" not in shown:
                shown += read_until(commander, "metric_name=source_count")
            assert "phase=EXECUTING" in shown
            assert "metric_name=source_count, metric_units=" in shown
            assert "value=" in shown
            commander.stdin.write("run source-catalog threshold\n")
            commander.stdin.flush()
            assert "'threshold' is not of the form" in read_until(commander, "failed")
            commander.stdin.write("exit\n")
            commander.stdin.flush()
            commander.communicate(timeout=60)
        finally:
            commander.kill()
    assert commander.returncode == 0
