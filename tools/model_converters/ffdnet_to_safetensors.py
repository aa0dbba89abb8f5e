"""Convert the authors' FFDNet for color images from .pth to safetensors."""

import sys

from mmseg_lipcert.cli.model_converters.ffdnet_to_safetensors import main

if __name__ == "__main__":
    sys.exit(main())
