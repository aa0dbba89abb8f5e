"""The console script ``lipcert``: its list of commands, and what it starts."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from mmseg_lipcert.__main__ import COMMANDS, main, usage
from mmseg_lipcert.report import environment

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def lipcert(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lipcert", *arguments])
        return main()

    return run


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_all_commands_are_listed_with_what_they_do(lipcert, capsys, arguments):
    assert lipcert(*arguments) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == usage()
    for command, module in COMMANDS.items():
        purpose = importlib.import_module(f"mmseg_lipcert.cli.{module}").__doc__.splitlines()[0]
        assert any(line.split() == [command, *purpose.split()] for line in printed.splitlines())


def test_a_command_has_its_own_name_and_arguments(lipcert, capsys, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        lipcert("audit", "--nothing")
    assert caught.value.code == 2
    assert "usage: lipcert audit " in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["lipcert test", "a b.py", "--certify"])
    assert environment()["command"] == "lipcert test 'a b.py' --certify"


def test_the_exit_status_is_that_of_the_command(lipcert, capsys):
    assert lipcert("report", "absent") == 2
    assert "absent" in capsys.readouterr().err
    assert lipcert("tset") == 2
    assert "no command 'tset'; lipcert --help" in capsys.readouterr().err


def test_a_package_that_a_command_needs_is_named(lipcert, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "mmseg_lipcert.cli.report", raising=False)
    monkeypatch.setitem(sys.modules, "mmseg_lipcert.report", None)
    assert lipcert("report", "folder") == 2
    assert capsys.readouterr().err.startswith("error: import of mmseg_lipcert.report halted")


def test_scripts_call_what_the_commands_call():
    called = {
        module
        for path in TOOLS.rglob("*.py")
        for module in re.findall(r"from mmseg_lipcert\.cli\.([\w.]+) import main", path.read_text())
    }
    assert called == set(COMMANDS.values()) - {"demo"}
