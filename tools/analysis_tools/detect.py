"""Certify the boxes of a Lipschitz detector. Experimental."""

import sys

from mmseg_lipcert.cli.detect import main

if __name__ == "__main__":
    sys.exit(main())
