"""A server's module that ends the process which imports it, as a script would."""

import sys

sys.exit(3)
