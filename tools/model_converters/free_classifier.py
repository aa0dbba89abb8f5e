"""Turn the orthogonal classifier of a checkpoint into a free one, as a start for fine-tuning."""

import sys

from mmseg_lipcert.cli.model_converters.free_classifier import main

if __name__ == "__main__":
    sys.exit(main())
