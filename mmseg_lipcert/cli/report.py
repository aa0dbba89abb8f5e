"""Write report.html of a finished certification again, or compare several certifications."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..report import Comparison, write_html_report
from ..utils.cli import CommandLineError
from ..utils.failures import one_line_errors


@one_line_errors
def main() -> None:
    """Write the page and say where it is."""
    parser = argparse.ArgumentParser(
        description="One certification: write its report.html again, from the files in its "
        "folder. Several: compare them, in one table and one figure of certified accuracy."
    )
    parser.add_argument(
        "certificate",
        nargs="+",
        help="folder with certificate.json (--out of lipcert test), or such a file",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="page of a comparison, with its figure beside it as a PNG (comparison.html)",
    )
    parser.add_argument(
        "--common",
        action="store_true",
        help="compare on the images that all certificates have, from the images.*.jsonl beside",
    )
    args = parser.parse_args()
    compared = len(args.certificate) > 1
    if not compared and (args.out or args.common):
        raise CommandLineError("--out and --common are for a comparison of several certificates")
    page = args.out or Path("comparison.html")
    if page.suffix != ".html":
        raise CommandLineError(f"--out must be a page such as comparison.html, got {page}")
    try:
        if compared:
            comparison = Comparison(args.certificate, common=args.common)
            figure = comparison.write(page)
            print(f"{comparison.table()}\nComparison written to {page}, its figure to {figure}")
        else:
            print(f"Report written to {write_html_report(*args.certificate)}")
    except (OSError, ValueError) as error:
        raise CommandLineError(str(error)) from error
