"""What the launcher keeps of what a command says."""

import os
import re
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.ts.ocps.executors.launcher import Stream

_TAIL = 64 * 1024


def copy(said: list[bytes], target: int, limit: int) -> None:
    """Say something through a pipe; returns when it has been heard to the end."""
    source, end = os.pipe()
    try:
        stream = Stream(source, target, limit)
        for piece in said:
            # Larger than the pipe, this waits for the reader.
            assert os.write(end, piece) == len(piece)
        os.close(end)
        stream.finish(time.monotonic() + 20)
    finally:
        os.close(source)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 150_000), st.sampled_from(b"abc")), max_size=6),
    st.sampled_from([0, 1024, 1025, 100_000, 200_001]),
)
def test_all_is_kept_or_the_beginning_and_the_end_and_what_is_missing_is_counted(
    pieces: list[tuple[int, int]], limit: int
) -> None:
    said = [bytes([letter]) * size for size, letter in pieces]
    whole = b"".join(said)
    with tempfile.TemporaryFile() as file:
        copy(said, file.fileno(), limit)
        file.seek(0)
        kept = file.read()
    if not limit or len(whole) <= limit:
        assert kept == whole
        return
    mark = re.search(rb"\n\[\.\.\. (\d+) bytes are left out \.\.\.\]\n", kept)
    assert mark is not None
    head, tail = kept[: mark.start()], kept[mark.end() :]
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + len(tail) == limit
    assert len(tail) == min(limit // 2, _TAIL)
    assert int(mark[1]) == len(whole) - limit


def test_a_full_disk_does_not_stop_the_command() -> None:
    target = os.open("/dev/full", os.O_WRONLY)
    try:
        copy([b"x" * 1_000_000], target, 100_000)
    finally:
        os.close(target)


def test_a_pipe_that_stays_open_is_not_waited_for_longer_than_told(tmp_path: Path) -> None:
    source, end = os.pipe()
    target = os.open(tmp_path / "stdout.txt", os.O_WRONLY | os.O_CREAT)
    try:
        stream = Stream(source, target, 1000)
        os.write(end, b"said")
        stream.finish(time.monotonic() + 0.05)
    finally:
        os.close(end)
    # Now the reader comes to the end.
    stream.finish(time.monotonic() + 20)
    for descriptor in (source, target):
        os.close(descriptor)
    assert (tmp_path / "stdout.txt").read_bytes() == b"said"
