"""Start a command that the kernel kills when its parent dies: `python -I -S leash.py PID CMD ...`.

Run as a script, never imported. It replaces itself by the command, so it costs some 20 ms and no
process. The other way, a function between fork and exec, is unsafe (and warned about since Python
3.12) in a parent that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives exec

parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":  # elsewhere (services on servers that exist) there is no such call
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != parent:  # it died before the line above
    os._exit(1)
try:
    os.execvpe(command[0], command, os.environ)  # noqa: S606 - a command of our own, no shell
except OSError as error:
    sys.exit(f"{command[0]} could not be started: {error.strerror}")
