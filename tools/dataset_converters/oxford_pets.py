"""Convert Oxford-IIIT Pets from its published archives to the layout of MMSegmentation."""

import sys

from mmseg_lipcert.cli.dataset_converters.oxford_pets import main

if __name__ == "__main__":
    sys.exit(main())
