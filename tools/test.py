"""Test a segmentor, or certify it: what an attacker with a given budget can do at worst."""

import sys

from mmseg_lipcert.cli.test import main

if __name__ == "__main__":
    sys.exit(main())
