"""Audit a segmentor: the Lipschitz bound of its network, layer by layer, from its weights."""

import sys

from mmseg_lipcert.cli.audit import main

if __name__ == "__main__":
    sys.exit(main())
