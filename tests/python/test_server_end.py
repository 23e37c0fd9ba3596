"""packhorse serve: how it ends."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from server import Server

LONG = {"prompt": "Once upon a time", "max_tokens": 4000, "temperature": 0, "ignore_eos": True}


class Reader(threading.Thread):
    """Reads a stream to its end; `began` is set by the first event."""

    def __init__(self, server, body):
        super().__init__(daemon=True)
        self.server, self.body, self.events, self.failure = server, body, [], None
        self.began = threading.Event()
        self.start()

    def run(self):
        try:
            for event in self.server.stream("/v1/completions", self.body):
                self.events.append(event)
                self.began.set()
        except Exception as error:  # what a client would see
            self.failure = error
        self.began.set()


def test_fault_109_sigterm_lets_requests_finish():
    with Server("demo") as server:
        readers = [Reader(server, {**LONG, "max_tokens": 60}) for _ in range(4)]
        assert all(reader.began.wait(60) for reader in readers)
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        if server.process.poll() is None:
            health = server.get("/health").status
            assert health == 503
            late = server.post("/v1/completions", {**LONG, "max_tokens": 1})
            assert late.status == 503 and "retry-after" in late.headers
        assert server.wait(60) == 0
        for reader in readers:
            reader.join(10)
            assert reader.failure is None
            assert reader.events[-1]["choices"][0]["finish_reason"] == "length"


def test_fault_109_what_takes_too_long_is_ended_with_an_error_event():
    with Server("demo", "--shutdown-timeout", "2") as server:
        reader = Reader(server, LONG)
        assert reader.began.wait(60)
        server.signal(signal.SIGTERM)
        server.wait_for_line(lambda line: "stopping: 1 requests" in line)
        n_before = len(reader.events)
        assert server.wait(60) == 0
        reader.join(60)
        assert reader.failure is None and "error" in reader.events[-1]
        assert len(reader.events) > n_before + 1  # it went on for a while


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_fault_109_a_second_signal_ends_at_once(number, status):
    with Server("demo", "--shutdown-timeout", "3600") as server:
        reader = Reader(server, LONG)
        assert reader.began.wait(60)
        server.signal(signal.SIGTERM)
        while server.get("/health").status == 200:
            time.sleep(0.01)
        assert server.process.poll() is None
        server.signal(number)
        assert server.wait(60) == status


def test_fault_109_two_signals_at_once(program):
    with Server("demo") as server:
        reader = Reader(server, LONG)
        assert reader.began.wait(60)
        server.signal(signal.SIGSTOP)
        server.signal(signal.SIGINT)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert server.wait(60) in (130, 143)


def test_fault_110_nobody_reads_standard_error(program):
    """It is full; the server goes on, and ends when it is told to."""
    reading, writing = os.pipe()
    command = [program, "serve", "demo", "--port", "0", "--shutdown-timeout", "0.5"]
    process = subprocess.Popen(command, stderr=writing, stdout=subprocess.DEVNULL)
    try:
        port = int(re.search(rb":(\d+) \(loaded", os.read(reading, 4096))[1])
        threading.Thread(target=os.write, args=(writing, bytes(1 << 20)), daemon=True).start()  # never returns
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps({"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        connection.getresponse().read(10)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_fault_110_without_requests_it_ends_at_once(number):
    with Server("demo", "--shutdown-timeout", "3600") as server:
        server.signal(number)
        assert server.wait(60) == 0


def state(task):
    """Of a thread: R while it runs."""
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]


def test_fault_110_closed_outputs_harm_nothing(program):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"exec {program} serve demo --port {port} >&- 2>&-"
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL)
    try:
        answers = 0
        for _ in range(300):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answers += connection.recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                time.sleep(0.1)
            if answers == 20:
                break
        assert answers == 20
        deadline = time.monotonic() + 60
        while any(state(task) == "R" for task in Path(f"/proc/{process.pid}/task").iterdir()):  # it does not spin
            assert time.monotonic() < deadline
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
