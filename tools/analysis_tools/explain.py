"""Explain predicted objects: what would have to be different, and how far that is at least."""

import sys

from mmseg_lipcert.cli.explain import main

if __name__ == "__main__":
    sys.exit(main())
