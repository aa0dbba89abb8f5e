"""Convert Kvasir-SEG from its published archive to the layout of MMSegmentation."""

import sys

from mmseg_lipcert.cli.dataset_converters.kvasir_seg import main

if __name__ == "__main__":
    sys.exit(main())
