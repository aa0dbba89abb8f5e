"""Generate labelled street scenes in the folder layout of Cityscapes; no download needed."""

import sys

from mmseg_lipcert.cli.dataset_converters.street_scenes import main

if __name__ == "__main__":
    sys.exit(main())
