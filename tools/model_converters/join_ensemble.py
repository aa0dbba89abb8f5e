"""Join trained Lipschitz networks into one LipEnsemble: their mean, certified as one network."""

import sys

from mmseg_lipcert.cli.model_converters.join_ensemble import main

if __name__ == "__main__":
    sys.exit(main())
