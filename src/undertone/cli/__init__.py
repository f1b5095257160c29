"""The command line: thin. Each command parses, calls and prints; own errors become one line and exit 1.

Commands live by subject, one module each; heavy imports stay inside the commands.
"""

from undertone.cli.app import main

__all__ = ["main"]
