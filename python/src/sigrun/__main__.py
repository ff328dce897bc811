"""`python -m sigrun`."""

import sys

from sigrun.cli import main

if __name__ == "__main__":
    sys.exit(main())
