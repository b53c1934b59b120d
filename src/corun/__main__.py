"""The command: ``corun``, and ``python -m corun``, which ``torchrun -m corun`` uses too."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command; Ctrl-C ends it with one line, while it is still loading, too."""
    try:
        from corun.apps.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("corun: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
