"""A hub on loopback: the repos that a test gives it, over the API that huggingface_hub uses; large files come from a storage
server of another origin, as the real one has it."""

import hashlib
import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CERTIFICATE = Path(__file__).parent / "localhost.pem"
LARGE = (".safetensors", ".gguf")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer, tls=False):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            do_GET = do_HEAD = do_CONNECT = lambda handler: answer(handler)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_):
        pass  # clients that hang up are part of the tests

    def close(self):
        self.shutdown()
        self.server_close()


def send(handler, status, body=b"", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


class Hub:
    """`repos` is {"org/name": {path: bytes}}. `asked` lists (server, method, path, headers). A function in `faults`, by path,
    answers instead of the server as long as it is there."""

    def __init__(self, repos=None, tls=False):
        self.repos = repos or {}
        self.asked = []
        self.faults = {}
        self.storage = _Server(self._answer_storage, tls)
        self.hub = _Server(self._answer_hub, tls)
        self._scheme = "https://localhost" if tls else "http://127.0.0.1"
        self.url = f"{self._scheme}:{self.hub.server_port}"

    def close(self):
        self.storage.close()
        self.hub.close()

    def add(self, repo, directory):
        """Publishes a model folder, without the logits that fixtures bring along."""
        paths = [file for file in directory.rglob("*") if file.is_file() and file.name != "reference.safetensors"]
        files = {str(file.relative_to(directory)): file.read_bytes() for file in paths}
        self.repos[repo] = files
        return files

    def requests(self, method, end=""):
        """Headers of the requests whose path ends so."""
        return [headers for _, asked, path, headers in self.asked if asked == method and path.endswith(end)]

    def _begin(self, server, handler):
        self.asked.append((server, handler.command, handler.path, dict(handler.headers)))
        fault = self.faults.get(handler.path)
        if fault:
            fault(handler)
        return not fault

    def _answer_hub(self, handler):
        if not self._begin("hub", handler):
            return
        for repo, files in self.repos.items():
            if handler.path.startswith(f"/api/models/{repo}/revision/"):
                return send(handler, 200, json.dumps(self._listing(repo, files)).encode())
            begin = f"/{repo}/resolve/{COMMIT}/"
            path = handler.path.removeprefix(begin)
            if handler.path.startswith(begin) and path in files:
                return self._answer_file(handler, path, files[path])
        send(handler, 404, X_Error_Code="RepoNotFound")

    def _listing(self, repo, files):
        siblings = []
        for path, content in sorted(files.items()):
            entry = {"rfilename": path, "size": len(content), "blobId": self.blob_id(content)}
            if path.endswith(LARGE):
                entry["lfs"] = {"sha256": self.sha256(content), "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        return {"id": repo, "sha": COMMIT, "siblings": siblings}

    def _answer_file(self, handler, path, content):
        if not path.endswith(LARGE):
            return send(handler, 200, content, ETag=f'"{self.blob_id(content)}"', X_Repo_Commit=COMMIT)
        sha256 = self.sha256(content)
        location = f"{self._scheme}:{self.storage.server_port}/{sha256}"
        send(
            handler, 302, X_Repo_Commit=COMMIT, Location=location, X_Linked_Etag=f'"{sha256}"', X_Linked_Size=len(content)
        )  # fmt: skip

    def _answer_storage(self, handler):
        if not self._begin("storage", handler):
            return
        for files in self.repos.values():
            for path, content in files.items():
                if path.endswith(LARGE) and handler.path == f"/{self.sha256(content)}":
                    return self.send_range(handler, content)
        send(handler, 404)

    @staticmethod
    def send_range(handler, content):
        range_ = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if not range_:
            return send(handler, 200, content)
        begin = int(range_[1])
        send(handler, 206, content[begin:], Content_Range=f"bytes {begin}-{len(content) - 1}/{len(content)}")

    @staticmethod
    def send_part(handler, content, n_bytes):
        """Announces all, sends a part and leaves the connection open."""
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:n_bytes])
        handler.wfile.flush()

    @staticmethod
    def cut(handler):
        """Hangs up."""
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def sha256(content):
        return hashlib.sha256(content).hexdigest()

    @staticmethod
    def blob_id(content):
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Proxy:
    """Tunnels; `asked` lists (target, Proxy-Authorization)."""

    def __init__(self):
        self.asked = []
        self._server = _Server(self._tunnel)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.close = self._server.close

    def _tunnel(self, handler):
        self.asked.append((handler.path, handler.headers.get("Proxy-Authorization")))
        host, port = handler.path.rsplit(":", 1)
        other = socket.create_connection((host, int(port)))
        handler.send_response(200)
        handler.end_headers()
        back = threading.Thread(target=self._copy, args=(other, handler.connection), daemon=True)
        back.start()
        self._copy(handler.connection, other)
        back.join()
        handler.close_connection = True

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
