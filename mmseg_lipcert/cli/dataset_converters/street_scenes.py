"""Generate labelled street scenes in the folder layout of Cityscapes; no download needed.

    lipcert street-scenes --out data/street_scenes --train 400

Scenes that are there already are kept, so an interrupted run can simply be started again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ...datasets import write_street_scenes
from ...utils.failures import one_line_errors


@one_line_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run the generator from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "default: %(default)s"
    parser.add_argument("--out", type=Path, default=Path("data/street_scenes"), help=default)
    parser.add_argument("--train", type=int, default=400, help=f"number of scenes, {default}")
    parser.add_argument("--val", type=int, default=40, help=f"number of scenes, {default}")
    parser.add_argument("--test", type=int, default=40, help=f"number of scenes, {default}")
    parser.add_argument("--seed", type=int, default=0, help=default)
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(256, 512),
        metavar=("HEIGHT", "WIDTH"),
        help="in pixels, default: 256 512",
    )
    args = parser.parse_args(argv)
    counts = {"train": args.train, "val": args.val, "test": args.test}
    written = write_street_scenes(args.out, counts, args.seed, tuple(args.size))
    print(f"\n{written} scenes written, {sum(counts.values()) - written} were there: {args.out}")
