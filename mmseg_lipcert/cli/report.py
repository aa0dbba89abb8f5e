"""Write report.html of a finished certification again, from the files in its folder."""

from __future__ import annotations

import argparse

from ..report import write_html_report
from ..utils.cli import CommandLineError
from ..utils.failures import one_line_errors


@one_line_errors
def main() -> None:
    """Write the page and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the folder with certificate.json: --out of lipcert test")
    args = parser.parse_args()
    try:
        page = write_html_report(args.folder)
    except (OSError, ValueError) as error:
        raise CommandLineError(str(error)) from error
    print(f"Report written to {page}")
