"""A server of streams that goes wrong in the ways that a load generator has to notice."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, json.dumps({"data": [{"id": "words"}]}).encode())

    def piece(self, text):
        """One chunk of HTTP, however the events are cut."""
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server, n = self.server, request["max_tokens"]
        with server.lock:
            number = len(server.requests)
            server.requests.append(request)
        fault = server.faults.get(number, "")
        if fault == "refused":
            return self.answer(503, b"{}", [("Retry-After", "1")])
        if fault in ("503", "400"):
            return self.answer(int(fault), b"{}")
        if fault == "closed":
            self.close_connection = True
            return None
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.piece(": waiting\n\n")
        for i in range(n):
            time.sleep(server.pause)
            event = "data: " + json.dumps({"choices": [{"text": f'w{i} "text"', "finish_reason": None}], "usage": None})
            self.piece(event[:7])
            self.piece(event[7:] + "\n\n")
            if fault == "cut" and i == 1:
                self.close_connection = True
                return None
        usage = {"prompt_tokens": len(request["prompt"].split()), "completion_tokens": n - (fault == "short")}
        self.piece("data: " + json.dumps({"choices": [], "usage": usage}) + "\r\n\r\n")
        if fault == "error":
            self.piece('data: {"error": {"message": "out of words"}}\n\n')
        if fault != "undone":
            self.piece("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        return None


class SseServer(ThreadingHTTPServer):
    """Request number n meets the fault faults[n]; each word of an answer takes `pause` seconds."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, faults=None, pause=0.001):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.pause, self.requests, self.lock = faults or {}, pause, [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
