"""The last resort of a stop ends a process that hangs."""

import subprocess
import sys

HANGING = """
import threading
from devpocket.cutoff import end_process_after
end_process_after(0.2)
threading.Thread(target=threading.Event().wait).start()
"""

ENDING = """
from devpocket.cutoff import end_process_after
end_process_after(60)
print("done")
"""


def test_a_process_that_hangs_is_ended_and_says_where_it_hung():
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0
    assert "the stop took longer than 0.2 s" in ended.stderr
    assert "in wait" in ended.stderr


def test_a_process_that_ends_by_itself_is_not_held_up():
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
