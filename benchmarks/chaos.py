"""The long form of the fault suite: faults in random order for ten minutes while clients work.

Run with ``python -m benchmarks.chaos [--minutes 10] [--seed N]``. It prints its seed and every fault; the same seed
brings the same faults and the same wishes of clients in the same order. Needs what the tests need: a MongoDB
(``MONGODB_TEST_COMMAND`` or ``mongod``), redis-server and nginx. Exits with 1 and names everything that was lost.
"""

import argparse
import asyncio
import secrets
import subprocess
import sys
import time
import traceback

from tests.cluster import faults


def main() -> None:
    """Read the arguments and play."""
    parser = argparse.ArgumentParser(description="Faults in random order while clients work.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {text}", flush=True)

    try:
        asyncio.run(faults.play(arguments.seed, minutes=arguments.minutes, say=say))
    except (AssertionError, ExceptionGroup, subprocess.TimeoutExpired) as error:
        traceback.print_exception(error, file=sys.stdout)
        print(f"FAILED with seed {arguments.seed}")
        sys.exit(1)


if __name__ == "__main__":
    main()
