"""Convert a checkpoint of the published 1-Lipschitz DeepLabV3 into a config and a checkpoint."""

import sys

from mmseg_lipcert.cli.model_converters.lip_net import main

if __name__ == "__main__":
    sys.exit(main())
