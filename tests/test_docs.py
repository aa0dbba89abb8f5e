"""What the documentation names exists: files, links, flags of tools, names of the package."""

import argparse
import importlib.util
import json
import pkgutil
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mmseg_lipcert.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("configs/*/*.md")],
    key=lambda page: page.relative_to(ROOT).parts,
)
FOREIGN_FLAGS = {
    *("--local-dir", "--no-build-isolation", "--no-deps"),  # of hf and pip
    *("--nproc-per-node", "--nnodes", "--node-rank", "--master-addr", "--master-port"),  # torchrun
    *("--rdzv-id", "--rdzv-backend", "--rdzv-endpoint"),
    *("--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--kill-on-bad-exit"),
}


class Parser(BaseException):
    """Carries the flags of a parser out of a tool, past whatever handles its errors."""


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request):
    return request.param


@pytest.fixture
def text(page):
    """The page, with commands of several lines in one."""
    return re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def flags():
    """The flags of each tool, by its path, and of each command, by its module."""

    def stop(parser, *args, **kwargs):
        raise Parser(set(parser._option_string_actions))

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", ["tool"])
        for path in ROOT.glob("tools/**/*.py"):
            spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            with pytest.raises(Parser) as caught:
                getattr(module.main, "__wrapped__", module.main)()
            found[path.relative_to(ROOT).as_posix()] = caught.value.args[0]
        for module in COMMANDS.values():
            with pytest.raises(Parser) as caught:
                import_module(f"mmseg_lipcert.cli.{module}").main.__wrapped__()
            found[module] = caught.value.args[0]
    return found


def slugs(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(page, text):
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith(("http://", "https://")):
            file, _, anchor = link.partition("#")
            target = (page.parent / file) if file else page
            assert target.exists(), link
            assert not anchor or anchor in slugs(target), link


def test_the_navigation_of_the_site_has_every_page(page):
    assert f"- {page.relative_to(ROOT).as_posix()}\n" in (ROOT / "mkdocs.yml").read_text()


def test_notebooks_are_kept_without_results():
    for notebook in ROOT.glob("docs/notebooks/*.ipynb"):
        for cell in json.loads(notebook.read_text())["cells"]:
            assert not cell.get("outputs") and not cell.get("execution_count"), notebook


def test_named_files_exist(text):
    folders = "configs|demo|docs|mmseg_lipcert|requirements|tests|tools"
    for name in re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]*", text):
        assert (ROOT / name.rstrip(".")).exists(), name


def test_named_tests_exist(text):
    for file, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert f"def {name}(" in (ROOT / file).read_text(), name


def test_flags_are_those_of_the_tool(text, flags):
    for name, rest in re.findall(r"(tools/[\w/]+\.py)([^\n`|]*)", text):
        unknown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", rest)) - flags[name]
        assert not unknown, f"{name}: {unknown}"


def test_commands_and_their_flags_exist(text, flags):
    for name, rest in re.findall(r"lipcert ([a-z][a-z-]*)([^\n`|]*)", text):
        unknown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", rest)) - flags[COMMANDS[name]]
        assert not unknown, f"{name}: {unknown}"


def test_other_flags_are_those_of_some_tool(text, flags):
    known = FOREIGN_FLAGS.union(*flags.values())
    for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", text):
        assert flag in known, flag


def test_names_of_the_package_resolve(text):
    for name in re.findall(r"\bmmseg_lipcert(?:\.\w+)+", text):
        pkgutil.resolve_name(name)
    for module, names in re.findall(r"from (mmseg_lipcert[\w.]*) import ([\w, ]+)", text):
        for name in names.split(","):
            pkgutil.resolve_name(f"{module}:{name.strip()}")


def test_every_key_of_a_certificate_is_explained():
    def keys(part):
        if isinstance(part, dict):
            yield from part.get("properties", {})
        for value in part.values() if isinstance(part, dict) else part:
            if isinstance(value, (dict, list)):
                yield from keys(value)

    schema = json.loads((ROOT / "mmseg_lipcert/report/certificate.schema.json").read_text())
    explained = set(re.findall(r"\w+", (ROOT / "docs/results_format.md").read_text()))
    assert set(keys(schema)) - explained == set()
