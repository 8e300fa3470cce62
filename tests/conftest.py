"""No command says in a test what it waits for, however slow the machine, unless the test is about that."""

import os

os.environ["SIGNFLOW_PATIENCE"] = "1e9"
