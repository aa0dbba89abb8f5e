import argparse
import os

import pytest

from mmseg_lipcert.utils.cli import (
    CommandLineError,
    add_common_arguments,
    check_output_file,
    check_output_folder,
    load_config,
)
from mmseg_lipcert.utils.user_error import UserError


@pytest.fixture
def config_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    path = tmp_path / "tiny.py"
    path.write_text("model = dict(type='A', depth=1)\nlayers = [dict(width=1), dict(width=2)]\n")
    return path


def test_overrides_are_merged(config_path):
    options = {"model.depth": 2, "layers.1.width": 5, "new": "value"}
    config = load_config(config_path, options, launcher="pytorch")
    assert config.model == {"type": "A", "depth": 2}
    assert config.layers == [{"width": 1}, {"width": 5}]
    assert config.new == "value"
    assert config.launcher == "pytorch"


def test_work_dir_from_the_command_line_comes_first(config_path):
    options = {"work_dir": "from_config"}
    assert load_config(config_path, options, "from_shell").work_dir == "from_shell"
    assert load_config(config_path, options).work_dir == "from_config"
    assert load_config(config_path).work_dir == "./work_dirs/tiny"


def test_the_launcher_decides_the_local_rank(config_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    load_config(config_path, local_rank=1)
    assert os.environ["LOCAL_RANK"] == "3"
    monkeypatch.delenv("LOCAL_RANK")
    load_config(config_path, local_rank=1)
    assert os.environ["LOCAL_RANK"] == "1"


def test_missing_config(config_path):
    with pytest.raises(CommandLineError, match="config file absent.py does not exist"):
        load_config("absent.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(", "SyntaxError"),
        ("_base_ = ['absent.py']", "absent.py"),
        ("custom_imports = dict(imports=['no_such_module'])", "no_such_module"),
        ("value = 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_broken_config(config_path, text, message):
    config_path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(config_path)


@pytest.mark.parametrize("options", [{"layers.7.width": 1}, {"layers.x.width": 1}])
def test_override_that_does_not_fit(config_path, options):
    with pytest.raises(CommandLineError, match="--cfg-options do not fit config .*tiny.py"):
        load_config(config_path, options)


def test_work_dir_that_is_a_file(config_path):
    with pytest.raises(CommandLineError, match="is a file"):
        load_config(config_path, work_dir=config_path)


def test_arguments_of_the_stock_tools():
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    args = parser.parse_args(
        ["--work-dir", "out", "--cfg-options", "a.b=1", "c=[1,2]", "--launcher", "slurm"]
        + ["--local_rank", "2"]
    )
    assert args.work_dir == "out"
    assert args.cfg_options == {"a.b": 1, "c": [1, 2]}
    assert (args.launcher, args.local_rank) == ("slurm", 2)
    assert parser.parse_args(["--local-rank", "4"]).local_rank == 4


def test_blanks_of_a_setting_are_kept_unless_it_is_a_list():
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    options = ["a.root=my data/f 1", "b='x y'", "c=[1, 2]", "d=( a,b )", "e=None", "f= 3"]
    args = parser.parse_args(["--cfg-options", *options])
    assert args.cfg_options == {
        **{"a.root": "my data/f 1", "b": "x y"},
        **{"c": [1, 2], "d": ("a", "b"), "e": None, "f": 3},
    }


def test_brackets_of_a_setting_that_do_not_match(capsys):
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--cfg-options", "a=[1,2"])
    assert "--cfg-options: Imbalanced brackets exist in [1,2" in capsys.readouterr().err


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    check_output_folder(None, "--out")
    check_output_folder(tmp_path / "new" / "folder", "--out")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root
    with pytest.raises(CommandLineError, match=f"--out .*new: {tmp_path} cannot be written"):
        check_output_folder(tmp_path / "new", "--out")
    with pytest.raises(CommandLineError, match="--json .*file cannot be written"):
        check_output_file(tmp_path / "file", "--json")


def test_files_without_a_folder(tmp_path):
    check_output_file(None, "--json")
    check_output_file(tmp_path / "file", "--json")
    with pytest.raises(CommandLineError, match="--json: folder .*absent does not exist"):
        check_output_file(tmp_path / "absent" / "file", "--json")
    with pytest.raises(CommandLineError, match="is a folder, a file is needed"):
        check_output_file(tmp_path, "--json")
