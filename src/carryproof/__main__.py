"""Entry point of ``carryproof`` and ``python -m carryproof``."""

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    from carryproof.cli import main as run  # here, so that importing the entry point costs nothing

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
