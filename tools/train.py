"""Train a segmentor or a denoiser: MMSegmentation's tool, with clear errors before long work."""

import sys

from mmseg_lipcert.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
