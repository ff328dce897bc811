"""What the documents say is what the code says."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "make_operators.py"


def test_the_table_of_operators_is_that_of_the_code():
    subprocess.run([sys.executable, SCRIPT, "--check"], check=True)
