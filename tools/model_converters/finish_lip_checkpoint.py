"""Finish a trained Lipschitz network: fit one logit shift per class on the validation split."""

import sys

from mmseg_lipcert.cli.model_converters.finish_lip_checkpoint import main

if __name__ == "__main__":
    sys.exit(main())
