"""A pseudo-terminal with a program in it, as a person would use it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")


class Terminal:
    """What was shown is kept raw in `raw`; texts are searched and returned without escape sequences and controls."""

    def __init__(self, command, env=None, rows=24, columns=100):
        settings = {**os.environ, "TERM": "xterm", **(env or {})}
        self.child, self.end = pty.fork()
        if self.child == 0:
            # Here, before there is a program to be told of the change: it would draw its line anew.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(command[0], [str(part) for part in command], settings)
        self.raw, self.seen, self.status = b"", 0, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        os.close(self.end)

    def _read(self, timeout):
        """False at the end, and when nothing came."""
        if not select.select([self.end], [], [], timeout)[0]:
            return False
        try:
            piece = os.read(self.end, 65536)
        except OSError:  # the program is gone
            return False
        self.raw += piece
        return bool(piece)

    def shown(self):
        return ESCAPES.sub("", self.raw.decode(errors="replace"))

    def type(self, keys):
        os.write(self.end, keys.encode())

    def wait_for(self, text, timeout=60):
        """What was shown since the last wait, up to `text`."""
        deadline = time.monotonic() + timeout
        while (at := self.shown().find(text, self.seen)) < 0:
            assert self._read(deadline - time.monotonic()), f"no {text!r} in {self.shown()[self.seen :]!r}"
        passed = self.shown()[self.seen : at]
        self.seen = at + len(text)
        return passed

    def ask(self, text):
        """Types a line at the prompt; what is shown before the next prompt."""
        self.type(text + "\r")
        self.wait_for("\n")
        return self.wait_for("\n> ")

    def wait_end(self, timeout=60):
        """Exit status of the program."""
        deadline = time.monotonic() + timeout
        while (ended := os.waitpid(self.child, os.WNOHANG))[0] == 0:
            assert time.monotonic() < deadline, f"still running after {self.shown()[self.seen :]!r}"
            self._read(0.02)
        self.status = os.waitstatus_to_exitcode(ended[1])
        while self._read(0):
            pass
        return self.status

    def is_usual(self):
        """Whether the terminal echoes and hands over whole lines."""
        flags = termios.tcgetattr(self.end)[3]
        return bool(flags & termios.ICANON) and bool(flags & termios.ECHO)
