"""`python -m rota` is the command `rota`."""

import sys

from rota.cli import main

sys.exit(main())
