"""Attack a segmentor: what perturbations of a given norm really do, beside what is certified."""

import sys

from mmseg_lipcert.cli.attack import main

if __name__ == "__main__":
    sys.exit(main())
