"""report.html: written by tools/test.py beside certificate.json, and again from its folder."""

import logging
from functools import partial

import pytest

from mmseg_lipcert.engine.hooks import certification_hook
from mmseg_lipcert.utils.cli import CommandLineError


@pytest.fixture
def render(run_tool):
    """Run tools/analysis_tools/render_report.py in this process."""
    return partial(run_tool, "analysis_tools/render_report.py")


def test_certification_writes_the_page_and_the_tool_writes_it_again(
    project, test_tool, render, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = [project.config, project.checkpoint, "--certify", "--limit", 1]
    test_tool(*arguments, "--out", out, "--show-dir", out / "pictures")
    page = (out / "report.html").read_text(encoding="utf-8")
    # The figure, the curve, and the image's certificate and objects.
    assert page.count("<img ") == 4 and "images.0.jsonl" in page
    assert len(page) < 1_000_000
    (out / "report.html").unlink()
    render(out)
    assert (out / "report.html").read_text(encoding="utf-8") == page
    assert f"Report written to {out / 'report.html'}" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_loses_nothing(project, test_tool, tmp_path, monkeypatch):
    def fail(folder):
        raise OSError("disk is full")

    monkeypatch.setattr(certification_hook, "write_html_report", fail)
    out = tmp_path / "out"
    errors = []
    monkeypatch.setattr(
        logging.Logger, "error", lambda self, message, *rest, **more: errors.append(message)
    )
    test_tool(project.config, project.checkpoint, "--certify", "--limit", 1, "--out", out)
    assert (out / "certificate.json").is_file() and (out / "curve.png").is_file()
    (message,) = errors
    assert "report.html was not written: OSError: disk is full" in message
    assert "certificate.json is complete" in message and f"lipcert report {out}" in message


def test_a_folder_without_certificate(render, tmp_path):
    with pytest.raises(CommandLineError, match="has no certificate.json"):
        render(tmp_path)
    (tmp_path / "certificate.json").write_text("[]")
    with pytest.raises(CommandLineError, match="'schema' must be 1"):
        render(tmp_path)


def test_two_certifications_are_compared(project, test_tool, render, tmp_path, capsys, monkeypatch):
    for name, limit in (("one", 1), ("two", 2)):
        arguments = [project.config, project.checkpoint, "--certify", "--limit", limit]
        test_tool(*arguments, "--out", tmp_path / name)
    page = tmp_path / "compared" / "page.html"
    render(tmp_path / "one", tmp_path / "two" / "certificate.json", "--out", page)
    printed = capsys.readouterr().out
    assert "Different images: one: 1, two: 2; 1 of them are in all" in printed
    assert f"Comparison written to {page}, its figure to {page.with_suffix('.png')}" in printed
    assert page.is_file() and page.with_suffix(".png").is_file()
    monkeypatch.chdir(tmp_path)
    render("one", "two", "--common")
    assert (tmp_path / "comparison.html").is_file() and "Different" not in capsys.readouterr().out
    for arguments, message in (
        (["one", "--common"], "for a comparison of several"),
        (["one", "--out", "x.html"], "for a comparison of several"),
        (["one", "two", "--out", "certificate.json"], "must be a page such as comparison.html"),
        (["one", "absent"], "absent has no certificate.json"),
    ):
        with pytest.raises(CommandLineError, match=message):
            render(*arguments)
