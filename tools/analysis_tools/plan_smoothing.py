"""Predict certified accuracy and cost of smoothing for a choice of settings, from a few draws."""

import sys

from mmseg_lipcert.cli.plan import main

if __name__ == "__main__":
    sys.exit(main())
