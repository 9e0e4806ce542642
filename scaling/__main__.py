"""``python -m scaling``: the command line of the clone that this file lies in."""

import os
import sys

from scaling.common.paths import CLONE, foreign_packages

DONE, FAILED, USAGE = 0, 1, 2
OURS = ("datasets", "model", "scaling")


def main() -> int:
    """Run the command line; an error of ours is printed as its sentence, without a traceback."""
    if foreign := foreign_packages(CLONE):
        print("\n".join(foreign), file=sys.stderr)
        return USAGE
    if not os.environ.get("RAY_ADDRESS"):
        # Ray reads it when it is imported: its processes on this machine take the loopback address,
        # as they do by default on systems where a firewall would ask.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # Only now: before, these would import a stranger's packages.
    from scaling.cli.main import app
    from scaling.config.load import ConfigError

    try:
        app()
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in OURS:
            raise
        problems = error.problems if isinstance(error, ConfigError) else [str(error)]
        print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
        return USAGE if isinstance(error, ConfigError) else FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
