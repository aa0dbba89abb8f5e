"""Convert an unconditional checkpoint of guided-diffusion to a local diffusers folder."""

import sys

from mmseg_lipcert.cli.model_converters.guided_diffusion_to_diffusers import main

if __name__ == "__main__":
    sys.exit(main())
