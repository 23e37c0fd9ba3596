"""Servers as processes, started for one measurement and ended after it."""

import http.client
import socket
import subprocess
import tempfile
import time

TIME_TO_START = 180
TIME_TO_END = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """Runs `command` with a port of its own; ready when the constructor returns. A context manager."""

    def __init__(self, command):
        self.port = free_port()
        command = [str(word) for word in (*command, "--host", "127.0.0.1", "--port", self.port)]
        self._log = tempfile.TemporaryFile()
        begin = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        while not self._is_healthy():
            if self.process.poll() is not None or time.monotonic() - begin > TIME_TO_START:
                self.stop()
                raise SystemExit(f"error: {' '.join(command)} did not start: {self.last_words()}")
            time.sleep(0.005)
        self.seconds_to_start = time.monotonic() - begin

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _is_healthy(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def last_words(self):
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(TIME_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self._log.close()


def packhorse(arguments, n_streams, context, *flags):
    """`context` is that of one stream."""
    return Server([arguments.packhorse, "serve", arguments.model, "--threads", arguments.threads, "--isa", arguments.isa,
                   "--max-num-seqs", n_streams, "--max-model-len", context, *flags])


def llama(program, arguments, n_streams, context):
    """llama.cpp divides its context among the streams."""
    return Server([program, "-m", arguments.model, "-t", arguments.threads, "-tb", arguments.threads, "-np", n_streams,
                   "-c", n_streams * context, "--no-webui"])
