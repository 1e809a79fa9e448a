"""The last resort of a stop: whatever hangs then, the process ends."""

import faulthandler
import os
import sys
import threading


def end_process_after(seconds: float) -> threading.Timer:
    """End this process with exit code 0 when ``seconds`` have passed, saying on standard error what it hung in.

    Nothing is lost by that: what was acknowledged is in the store, and leases that were not handed over run out by
    themselves. Cancel the timer to let the process live.
    """

    def end() -> None:
        sys.stderr.write(f"devpocket: the stop took longer than {seconds:g} s (SHUTDOWN_TIMEOUT) and is cut off\n")
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer
