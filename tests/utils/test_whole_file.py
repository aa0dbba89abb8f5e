import errno

import pytest

from mmseg_lipcert.utils.failures import user_line
from mmseg_lipcert.utils.whole_file import whole_file


def test_the_old_file_stays_until_the_new_one_is_written(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_file(path) as partial:
        partial.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        partial.write_text("new")
        _ = 1 / 0
    assert path.read_text() == "old"


def test_a_full_device_is_named(tmp_path):
    path = tmp_path / "file.txt"
    path.with_name("file.txt.partial").symlink_to("/dev/full")
    with pytest.raises(OSError) as full, whole_file(path) as partial:
        partial.write_text("text")
    assert full.value.errno == errno.ENOSPC
    assert user_line(full.value).startswith(f"{path}: No space left on device; free some space")
    assert not path.exists()
