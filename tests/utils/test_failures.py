import errno
import logging
import os
import subprocess
import sys

import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from torch.utils.data import DataLoader

from mmseg_lipcert.certificates import smoothing_radius
from mmseg_lipcert.engine import CertificationError
from mmseg_lipcert.lipschitz import AuditError
from mmseg_lipcert.utils.cli import CommandLineError
from mmseg_lipcert.utils.failures import (
    blame,
    describe,
    one_line_errors,
    user_line,
    work_begins,
)
from mmseg_lipcert.utils.user_error import UserError


def failing(error):
    @one_line_errors
    def main():
        raise error

    return main


@pytest.mark.parametrize("kind", [UserError, CommandLineError, CertificationError, AuditError])
def test_a_user_error_is_one_line_and_status_2(kind, capsys):
    assert failing(kind("no such\n  file"))() == 2
    assert capsys.readouterr().err == "error: no such file\n"


def test_after_the_work_began_the_status_is_1(capsys):
    @one_line_errors
    def main(work):
        if work:
            work_begins()
        raise UserError("late")

    assert [main(True), main(False)] == [1, 2]
    assert capsys.readouterr().err == 2 * "error: late\n"


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_status_of_a_tool(returned, status):
    assert one_line_errors(lambda: returned)() == status


def test_an_interruption_has_no_traceback(capsys):
    assert failing(KeyboardInterrupt())() == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_and_usage_errors_leave_as_they_are():
    with pytest.raises(SystemExit) as exit_info:
        failing(SystemExit(2))()
    assert exit_info.value.code == 2


@pytest.fixture
def logger(tmp_path):
    """The current logger, with a log file."""
    name = f"test-{tmp_path.name}"
    yield MMLogger.get_instance(name, logger_name=name, log_file=str(tmp_path / "run.log"))
    logging.getLogger(name).handlers.clear()
    del MMLogger._instance_dict[name]


def test_an_unexpected_error_keeps_its_traceback_in_the_log(capsys, logger, tmp_path):
    assert one_line_errors(lambda: 1 // 0)() == 2
    (line,) = capsys.readouterr().err.splitlines()
    log = tmp_path / "run.log"
    assert line == (
        "error: ZeroDivisionError: integer division or modulo by zero (unexpected; the traceback "
        f"is in {log})"
    )
    assert "Traceback (most recent call last)" in log.read_text()


def test_without_a_log_the_traceback_has_a_file_of_its_own(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(MMLogger, "_instance_dict", type(MMLogger._instance_dict)())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one_line_errors(lambda: 1 // 0)()
    (log,) = tmp_path.glob("mmseg_lipcert-*.log")
    assert str(log) in capsys.readouterr().err
    assert "ZeroDivisionError" in log.read_text()


def test_no_log_at_all_shows_the_traceback(capsys, logger, monkeypatch):
    monkeypatch.setattr(logger.handlers[-1], "baseFilename", "/dev/full")
    one_line_errors(lambda: 1 // 0)()
    error = capsys.readouterr().err
    assert "Traceback" in error and "the traceback is in the lines above" in error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOTDIR, "Not a directory", "a/b"), r"a/b: Not a directory; a part of the"),
        (OSError(errno.EROFS, "Read-only file system", "a"), r"a: Read-only.*that can be written"),
        (OSError(errno.EACCES, "Permission denied", "a"), r"a: Permission denied; .*permissions"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), r"a: No space.*free some space"),
        (OSError("disk is full"), "^disk is full$"),
        (MemoryError("9 GB"), "^out of memory: .*fewer --draws-per-batch .*9 GB"),
        (torch.OutOfMemoryError("CUDA out of memory"), "^out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), "^out of memory"),
        (
            RuntimeError("[enforce fail at inline] . PytorchStreamWriter failed writing file"),
            "^a checkpoint could not be written, free some space",
        ),
    ],
)
def test_the_machine_is_to_blame(error, line):
    with pytest.raises(UserError, match=line):
        raise UserError(user_line(error))


def test_a_full_device_names_the_folder_of_the_run(logger, tmp_path):
    with pytest.raises(OSError) as full, open("/dev/full", "w") as file:
        file.write("text")
        file.flush()
    assert user_line(full.value).startswith(f"below {tmp_path}: No space left on device; free")


def test_a_log_on_a_full_device_does_not_flood_the_console(capfd, logger):
    logger.handlers[-1].stream = open("/dev/full", "w")
    one_line_errors(lambda: logger.info("hello"))()
    assert "Traceback" not in capfd.readouterr().err


def test_checks_of_this_package_are_the_users(capsys):
    assert one_line_errors(lambda: smoothing_radius(-1.0, 0.75))() == 2
    assert capsys.readouterr().err == "error: sigma must be finite and > 0, got -1.0\n"


def test_other_value_errors_are_unexpected():
    def fail():
        return int("seven")

    with pytest.raises(ValueError) as raised:
        fail()
    assert user_line(raised.value) is None


def test_blame_names_what_failed():
    with pytest.raises(UserError, match=r"^cannot build it: KeyError: 'model'$"):
        with blame("cannot build it"):
            {}["model"]
    with pytest.raises(CertificationError, match="^exact$"), blame("cannot build it"):
        raise CertificationError("exact")


@pytest.mark.parametrize("training", [False, True])
def test_images_of_different_sizes_in_a_batch(training, capsys):
    preprocessor = SegDataPreProcessor(size=(4, 4))
    samples = [SegDataSample(), SegDataSample()]
    data = dict(inputs=[torch.zeros(3, 5, 6), torch.zeros(3, 5, 7)], data_samples=samples)
    assert one_line_errors(lambda: preprocessor(data, training) and None)() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: images of different sizes in one batch: set batch_size=1")
    assert "unexpected" not in line


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_different_sizes_that_a_dataloader_stacks(workers, capsys):
    images = [torch.zeros(3, 5, 6), torch.zeros(3, 5, 7)]
    loader = DataLoader(images, batch_size=2, num_workers=workers)
    assert one_line_errors(lambda: list(loader) and None)() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: images of different sizes in one batch: set batch_size=1")
    assert "[3, 5, 6]" in line and "[3, 5, 7]" in line


def test_other_tensors_that_cannot_be_stacked_are_unexpected():
    with pytest.raises(RuntimeError) as raised:
        torch.stack([torch.zeros(1), torch.zeros(2)])
    assert user_line(raised.value) is None


class Unreadable:
    """A dataset whose items cannot be read."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a.png is odd"), "ValueError: a.png is odd"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.png"),
            "FileNotFoundError: [Errno 2] No such file or directory: 'a.png'",
        ),
    ],
)
def test_an_error_in_a_process_that_reads_data_is_one_line(error, line, capsys):
    loader = DataLoader(Unreadable(error), num_workers=1)
    assert one_line_errors(lambda: list(loader) and None)() == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_describe_is_one_line():
    assert describe(ValueError("two\n  lines")) == "ValueError: two lines"
    assert describe(KeyError()) == "KeyError"


def test_pickled_code_runs_nowhere_below(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save(Trap(), tmp_path / "trap.pth")

    def main():
        torch.load(tmp_path / "trap.pth", weights_only=False)

    assert one_line_errors(main)() == 2
    assert not (tmp_path / "trapped").exists()


def test_a_tool_says_one_line_and_nothing_else():
    code = "import sys; from mmseg_lipcert.utils.failures import one_line_errors as tool; "
    code += "sys.exit(tool(lambda: 1 // 0)())"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == "", "no remarks of the toolbox"
