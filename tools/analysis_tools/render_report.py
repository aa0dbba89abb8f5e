"""Write report.html of a finished certification again, or compare several certifications."""

import sys

from mmseg_lipcert.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
