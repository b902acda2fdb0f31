"""The folder of a job: what is listed, what is opened, and what never is."""

import inspect
import itertools
import json
import os
import resource
import shutil
import sys
from pathlib import Path

import pytest

from lsst.ts.ocps.payloads.schema import ResultSpec
from lsst.ts.ocps.service import results
from lsst.ts.ocps.service.errors import NotFoundError
from lsst.ts.ocps.service.results import JobFolder, last_line, mime_type
from lsst.ts.ocps.service.schema import StoredResult
from lsst.ts.ocps.uws.progress import Progress


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    (tmp_path / "secret.txt").write_text("of the service")
    made = JobFolder(tmp_path / "1job", "out")
    made.make()
    return made


def put(folder: JobFolder, name: str, content: str = "x") -> None:
    path = folder.output_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def result(path: str) -> StoredResult:
    return StoredResult("id", path, 1, "text/plain")


def read(folder: JobFolder, path: str) -> bytes:
    file, version = folder.open_result(result(path))
    with file:
        content = file.read()
    assert len(content) == version.size
    return content


def test_regular_files_are_listed_with_size_and_type(folder: JobFolder) -> None:
    put(folder, "b/c/image.fits", "12345")
    put(folder, "a.json", "{}")
    listed = folder.collect()
    assert [(file.result_id, file.path, file.size, file.mime_type) for file in listed] == [
        ("a.json", "a.json", 2, "application/json"),
        ("b_c_image.fits", "b/c/image.fits", 5, "application/fits"),
    ]
    assert read(folder, "b/c/image.fits") == b"12345"


def test_links_pipes_hidden_files_and_the_progress_are_not_listed(folder: JobFolder) -> None:
    put(folder, "real.txt")
    put(folder, ".hidden")
    put(folder, ".git/config")
    put(folder, "progress.json", "{}")
    (folder.output_path / "link.txt").symlink_to("real.txt")
    (folder.output_path / "outside.txt").symlink_to(folder.path.parent / "secret.txt")
    (folder.output_path / "folder").symlink_to(folder.path.parent)
    os.mkfifo(folder.output_path / "pipe")
    assert [file.result_id for file in folder.collect()] == ["real.txt"]


def test_ids_are_unique_and_fit_for_documents_whatever_the_names(folder: JobFolder) -> None:
    for name in ("a_b", "a/b", "a_b-2", "bell\x07", "two\nlines", "blank and ünïcode", "50%"):
        put(folder, name)
    Path(os.fsdecode(os.fsencode(folder.output_path) + b"/latin\xff1")).write_text("y")
    listed = {file.result_id: file.path for file in folder.collect()}
    assert len(listed) == 8
    assert {"a_b", "a_b-2", "bell_", "two_lines", "blank and ünïcode", "50%", "latin_1"} <= set(listed)
    assert all(result_id.isprintable() and "/" not in result_id for result_id in listed)
    assert read(folder, listed["latin_1"]) == b"y"


def test_of_too_many_outputs_the_first_ones_are_listed_and_the_others_told_of(folder: JobFolder) -> None:
    for name in ("result.json", "z", "c", "b/2", "b/1", "a", "progress.json"):
        put(folder, name)
    for most in (6, 7):
        assert len(folder.collect(most=most)) == 6
    listed = folder.collect(most=4)
    # What is read for what it says is there in any case.
    assert [file.path for file in listed] == ["a", "b/1", "b/2", "result.json", "stderr.txt"]
    said = "\nocps service: 2 of 6 files are no results: a job has 4 at most\n"
    assert (folder.path / "stderr.txt").read_text() == said
    assert listed[-1].size == len(said)


def test_outputs_that_are_no_results_do_not_count(folder: JobFolder) -> None:
    for name in ("a.txt", "b.txt", "c.fits"):
        put(folder, name)
    assert [file.path for file in folder.collect([ResultSpec(pattern="*.fits")], most=1)] == ["c.fits"]
    assert not (folder.path / "stderr.txt").exists()


def test_nothing_is_said_through_what_a_job_has_put_in_the_place_of_its_standard_error(
    folder: JobFolder,
) -> None:
    for name in "ab":
        put(folder, name)
    stderr = folder.path / "stderr.txt"
    stderr.symlink_to(folder.path.parent / "secret.txt")
    assert [file.path for file in folder.collect(most=1)] == ["a"]
    assert (folder.path.parent / "secret.txt").read_text() == "of the service"
    stderr.unlink()
    os.mkfifo(stderr)
    assert [file.path for file in folder.collect(most=1)] == ["a"]


def test_a_job_that_removed_its_outputs_has_none(folder: JobFolder) -> None:
    folder.output_path.rmdir()
    assert folder.collect() == ()


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "../../secret.txt", "/etc/passwd", "a/../../../secret.txt", "..", ".", "", "a//b/../c"],
)
def test_no_path_leads_out_of_the_folder(folder: JobFolder, path: str) -> None:
    put(folder, "a/b")
    with pytest.raises(NotFoundError):
        folder.open_result(result(path))


def test_a_link_put_in_the_place_of_a_result_is_not_followed(folder: JobFolder) -> None:
    put(folder, "inner/result.txt")
    (listed,) = folder.collect()
    (folder.output_path / "inner/result.txt").unlink()
    (folder.output_path / "inner/result.txt").symlink_to(folder.path.parent / "secret.txt")
    with pytest.raises(NotFoundError):
        folder.open_result(listed)


def test_a_folder_replaced_by_a_link_is_not_followed(folder: JobFolder) -> None:
    put(folder, "inner/secret.txt")
    (listed,) = folder.collect()
    (folder.output_path / "inner/secret.txt").unlink()
    (folder.output_path / "inner").rmdir()
    (folder.output_path / "inner").symlink_to(folder.path.parent)
    with pytest.raises(NotFoundError):
        folder.open_result(listed)


def test_output_folder_and_its_parents_are_not_followed_as_links(folder: JobFolder) -> None:
    folder.output_path.rmdir()
    folder.output_path.symlink_to(folder.path.parent)
    with pytest.raises(NotFoundError):
        folder.open_result(result("secret.txt"))


def test_a_folder_of_a_job_replaced_by_a_link_is_not_followed(folder: JobFolder) -> None:
    put(folder, "a")
    elsewhere = folder.path.with_name("elsewhere")
    folder.path.rename(elsewhere)
    folder.path.symlink_to(elsewhere)
    with pytest.raises(NotFoundError):
        folder.open_result(result("a"))
    assert folder.collect() == ()


def test_a_folder_that_becomes_a_link_while_it_is_listed_is_not_followed(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "inner/x")
    put(folder, "real.txt")
    really_open = os.open

    def swap(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "inner":
            (folder.output_path / "inner").rename(folder.path / "moved")
            (folder.output_path / "inner").symlink_to(folder.path.parent)
        return really_open(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swap)
    assert [file.result_id for file in folder.collect()] == ["real.txt"]


def test_folders_too_deep_are_left_out_and_cost_no_descriptors(folder: JobFolder) -> None:
    put(folder, "z.txt")
    put(folder, "/".join(["deep"] * 99) + "/found.txt")
    put(folder, "/".join(["deep"] * 100) + "/lost/lost.txt")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (counts)
    names = [file.path.rpartition("/")[2] for file in folder.collect()]
    assert names == ["found.txt", "z.txt"]
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 (counts)


def test_what_the_command_said_is_listed_last_and_only_if_it_said_something(folder: JobFolder) -> None:
    put(folder, "stdout.txt", "an output")
    (folder.path / "stdout.txt").write_text("said")
    (folder.path / "stderr.txt").write_text("")
    output, said = folder.collect()
    assert (said.result_id, said.path, said.size, said.is_log) == ("stdout.txt-2", "stdout.txt", 4, True)
    assert (output.result_id, output.is_log) == ("stdout.txt", False)
    for listed, content in ((output, b"an output"), (said, b"said")):
        file, _ = folder.open_result(listed)
        with file:
            assert file.read() == content


def test_a_link_in_the_place_of_what_the_command_said_is_not_followed(folder: JobFolder) -> None:
    (folder.path / "stdout.txt").symlink_to(folder.path.parent / "secret.txt")
    assert folder.collect() == ()


def test_of_several_patterns_the_first_counts_and_files_with_a_meaning_need_none(folder: JobFolder) -> None:
    for name in ("a.fits", "maps/b.fits", "c.txt", "result.json", "maps/metrics.json", "metrics.json"):
        put(folder, name)
    wanted = (
        ResultSpec(pattern="maps/*.fits", mime_type="image/fits"),
        ResultSpec(pattern="*.fits"),
    )
    assert [(file.path, file.mime_type) for file in folder.collect(wanted)] == [
        ("a.fits", "application/fits"),
        ("maps/b.fits", "image/fits"),
        ("metrics.json", "application/json"),
        ("result.json", "application/json"),
    ]


def test_a_pipe_is_refused_without_waiting_for_a_writer(folder: JobFolder) -> None:
    os.mkfifo(folder.output_path / "pipe")
    with pytest.raises(NotFoundError, match="regular"):
        folder.open_result(result("pipe"))


def test_a_folder_is_no_result(folder: JobFolder) -> None:
    put(folder, "inner/x")
    with pytest.raises(NotFoundError):
        folder.open_result(result("inner"))


def test_refusals_leave_no_descriptor_open(folder: JobFolder) -> None:
    put(folder, "inner/x")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (counts)
    for path in ("../x", "inner", "inner/y", "inner/../x", "nothing"):
        with pytest.raises(NotFoundError):
            folder.open_result(result(path))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 (counts)


def test_progress_is_read(folder: JobFolder) -> None:
    put(folder, "progress.json", json.dumps({"fraction": 0.4, "message": "frame 4\nof 10", "more": 1}))
    assert folder.read_progress() == Progress(0.4, "frame 4 of 10")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "1",
        '{"fraction": 2}',
        '{"fraction": "0.5"}',
        '{"fraction": NaN}',
        '{"fraction": null}',
        "\xff",
    ],
)
def test_progress_that_makes_no_sense_is_none(folder: JobFolder, content: str) -> None:
    (folder.output_path / "progress.json").write_text(content, encoding="latin-1")
    assert folder.read_progress() is None


def test_a_huge_progress_is_none_and_is_not_read_whole(folder: JobFolder) -> None:
    put(folder, "progress.json", json.dumps({"fraction": 0.5, "message": "x" * 100_000}))
    assert folder.read_progress() is None


def test_progress_is_not_read_through_a_link(folder: JobFolder) -> None:
    (folder.path.parent / "other.json").write_text('{"fraction": 0.5}')
    (folder.output_path / "progress.json").symlink_to(folder.path.parent / "other.json")
    assert folder.read_progress() is None


def test_the_tail_of_standard_error_is_its_end(folder: JobFolder) -> None:
    (folder.path / "stderr.txt").write_text("line\n" * 50_000 + "the last one\n")
    tail = folder.read_stderr_tail()
    assert len(tail) <= 64 * 1024
    assert tail.endswith("line\nthe last one\n")


def test_no_standard_error_is_an_empty_tail(folder: JobFolder) -> None:
    assert folder.read_stderr_tail() == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo\n\n", "two"),
        ("progress\r100 %\rall wrong", "all wrong"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("x" * 5000, "x" * 1000),
    ],
)
def test_the_last_line_is_the_last_that_says_something(text: str, line: str) -> None:
    assert last_line(text) == line


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("a.FITS", "application/fits"),
        ("a.fits.gz", "application/gzip"),
        ("a.ecsv", "text/plain"),
        ("a.png", "image/png"),
        ("a.json", "application/json"),
        ("a.unheard-of", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("a.tar.xz", "application/octet-stream"),
    ],
)
def test_media_types_follow_the_name(path: str, media_type: str) -> None:
    assert mime_type(path) == media_type


def make_deep(folder: JobFolder) -> None:
    directory = os.open(folder.output_path, os.O_RDONLY)
    for _ in range(150):
        os.mkdir("deep", dir_fd=directory)
        inner = os.open("deep", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(directory)


def test_folders_for_which_there_are_too_few_descriptors_are_removed(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_MAX_DEPTH", 20)
    make_deep(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 (numbers)
    free = (number for number in itertools.count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, 60, None)), hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            shutil.rmtree(folder.path)
        folder.remove()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not folder.path.exists()


def test_folders_too_deep_for_calls_within_calls_are_removed(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_MAX_DEPTH", 20)
    make_deep(folder)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 120)
    try:
        with pytest.raises(RecursionError):
            shutil.rmtree(folder.path)
        folder.remove()
    finally:
        sys.setrecursionlimit(limit)
    assert not folder.path.exists()


def test_a_link_in_the_place_of_the_folder_is_removed_and_not_followed(folder: JobFolder) -> None:
    elsewhere = folder.path.with_name("elsewhere")
    folder.path.rename(elsewhere)
    folder.path.symlink_to(elsewhere)
    folder.remove()
    assert not folder.path.is_symlink()
    assert elsewhere.exists()


def test_removing_takes_everything_and_does_not_follow_links(folder: JobFolder) -> None:
    put(folder, "a/b/c")
    (folder.output_path / "outside").symlink_to(folder.path.parent)
    folder.remove()
    folder.remove()
    assert not folder.path.exists()
    assert (folder.path.parent / "secret.txt").exists()
