"""A server of the tests' own: `packhorse serve` as a process, and a small client for it."""

import functools
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import ROOT

READY = re.compile(r" ready on (\S+) \(loaded in ([0-9.]+) s\)")


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


@functools.cache
def fetch_demo(program):
    """Downloads the demo model where it is not there yet, which may take longer than a server has to start."""
    subprocess.run([program, "inspect", "demo"], check=True, timeout=900, stdout=subprocess.DEVNULL)


class Server:
    """`packhorse serve MODEL --port 0 FLAGS`, ready when the constructor returns. A context manager."""

    def __init__(self, model, *flags, env=None, timeout=120):
        program = Path(os.environ.get("PACKHORSE_CLI") or ROOT / "build/packhorse")
        if not program.is_file():
            pytest.skip("the command line is not built")
        if model == "demo":
            fetch_demo(program)
        self.url = ""
        self.log = []  # lines of standard error so far
        given = list(map(str, flags))
        command = [str(program), "serve", *([str(model)] if model else []), *given]
        if "--port" not in given and "--uds" not in given:
            command += ["--port", "0"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait(timeout)
        if not self.url:
            self.kill()
            raise RuntimeError(f"no server (status {self.process.returncode}): {' '.join(self.log)}")

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            if found := READY.search(line):
                self.url = found[1]
                self._ready.set()
        self._ready.set()

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def connect(self, timeout=120):
        """A connection of http.client."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def socket(self, timeout=30):
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=120):
        """`body` is sent as JSON unless it is bytes."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path, headers=None, timeout=120):
        return self.request("GET", path, None, headers, timeout)

    def post(self, path, body=None, headers=None, timeout=120):
        return self.request("POST", path, {} if body is None else body, headers, timeout)

    def stream(self, path, body, headers=None, timeout=120):
        """Data of each server-sent event, parsed, without the last "[DONE]"."""
        connection = self.connect(timeout)
        try:
            connection.request("POST", path, json.dumps({**body, "stream": True}),
                               {"Content-Type": "application/json", **(headers or {})})  # fmt: skip
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}: {answer.read().decode()}")
            for line in answer:
                data = line.decode().strip()
                if data.startswith("data:") and (data := data[5:].strip()) != "[DONE]":
                    yield json.loads(data)
        finally:
            connection.close()

    def wait_for_line(self, found, timeout=5):
        """The first line of the log that `found` takes."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for line in list(self.log):
                if found(line):
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no such line in {self.log[-5:]}")

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=60):
        """The exit status."""
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status

    def stop(self):
        """Ends it as a service manager does, and returns the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
