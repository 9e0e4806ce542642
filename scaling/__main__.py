"""``python -m scaling``: the command line of the clone with this file."""

import os
import sys

from scaling.common.paths import CLONE, foreign_packages

DONE, FAILED, USAGE = 0, 1, 2
PACKAGES = ("datasets", "model", "scaling")


def main() -> int:
    """Run the command line. Print an error of Longwave's as a sentence, without a traceback."""
    if foreign := foreign_packages(CLONE):
        print("\n".join(foreign), file=sys.stderr)
        return USAGE
    if not os.environ.get("RAY_ADDRESS"):
        # Ray reads this at its import: its processes on this machine use the loopback address, as
        # they do by default on systems with a firewall that asks.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # Imported after the check, since these could import foreign packages.
    from scaling.cli.main import app
    from scaling.config.load import ConfigError

    try:
        app()
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in PACKAGES:
            raise
        problems = error.problems if isinstance(error, ConfigError) else [str(error)]
        print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
        return USAGE if isinstance(error, ConfigError) else FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
