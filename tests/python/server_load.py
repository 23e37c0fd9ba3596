"""Many clients of one server: what they ask, and how its answers are told from those of an idle server."""

import http.client
import json
import random
import re
import threading
import time
from collections import Counter, defaultdict

PATIENCE = 120  # seconds for what should take none: sanitizers are slow, CI machines too

COMPLETIONS, CHAT, RESPONSES, MESSAGES = "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"
STREAMS = (COMPLETIONS, CHAT, RESPONSES, MESSAGES)
HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"enum": [1, 2, 3]}}, "required": ["ok", "n"],
          "additionalProperties": False}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "vote", "parameters": SCHEMA}}
FREE = {"ignore_eos": True}
QUESTIONS = (
    (COMPLETIONS, {"prompt": "Once upon a time", "n": 3, "max_tokens": 50, "seed": 1, **FREE}),
    (COMPLETIONS, {"prompt": "one two three " * 25, "max_tokens": 60, "temperature": 0, **FREE}),
    (COMPLETIONS, {"prompt": ["The capital", "A fox"], "n": 2, "max_tokens": 16, "seed": 2, "logprobs": 3, **FREE}),
    (COMPLETIONS, {"prompt": "Code:", "max_tokens": 20, "seed": 3, "structured_outputs": {"regex": "[a-f]{3}[0-9]{2}"}}),
    (CHAT, {"messages": HELLO, "max_tokens": 24, "seed": 4, "logprobs": True, "top_logprobs": 2, **FREE}),
    (CHAT, {"messages": HELLO, "max_tokens": 60, "seed": 5,
            "response_format": {"type": "json_schema", "json_schema": {"name": "vote", "schema": SCHEMA}}}),
    (CHAT, {"messages": HELLO, "max_tokens": 80, "seed": 6, "tools": [TOOL], "tool_choice": "required"}),
    (RESPONSES, {"input": "Say hello.", "max_output_tokens": 16, "temperature": 0, "store": False}),
    (MESSAGES, {"messages": HELLO, "max_tokens": 16, "temperature": 0}),
    ("/v1/embeddings", {"input": ["The cat sat on the mat.", "Stocks fell."], "encoding_format": "base64"}),
    ("/tokenize", {"prompt": "A quick brown fox", "return_token_strs": True}),
    ("/tokenize", {"messages": HELLO}),
    ("/detokenize", {"tokens": [5, 6, 7, 8]}),
)  # fmt: skip
LONG = {"prompt": "The quick brown fox", "max_tokens": 200, "seed": 7, **FREE}
BAD = ((COMPLETIONS, b'{"prompt": ', 400), (COMPLETIONS, b'{"prompt": "a", "temperature": -1}', 400), (CHAT, b"{}", 400),
       (COMPLETIONS, b'{"prompt": "a", "structured_outputs": {"regex": "("}}', 400), ("/nowhere", b"{}", 404))  # fmt: skip
KINDS = ("ask", "leave_stream", "leave_early", "send_garbage", "new_grammar", "keep_response", "poll", "refused")


class Lost(Exception):
    """An answer that is not what it should be."""


class Refused(Exception):
    """Status 503: too many wait, or the server is about to end."""


def pieces(path, event):
    """[(index, text)] of a whole answer or of one event of a stream."""
    if path == COMPLETIONS:
        return [(choice["index"], choice["text"]) for choice in event["choices"]]
    if path == CHAT:
        said = [(choice["index"], choice.get("delta") or choice.get("message") or {}) for choice in event["choices"]]
        return [(i, (part.get("content") or "") + "".join(call["function"]["arguments"] for call in part.get("tool_calls") or ()))
                for i, part in said]  # fmt: skip
    if path == RESPONSES:
        parts = [part for item in event.get("output", ()) for part in item.get("content", ())]
        is_delta = event.get("type") == "response.output_text.delta"
        return [(0, event["delta"])] if is_delta else [(0, part["text"]) for part in parts]
    if path == MESSAGES:
        return [(0, part.get("text", "")) for part in [*event.get("content", ()), event.get("delta", {})]]
    if path == "/v1/embeddings":
        return [(row["index"], row["embedding"]) for row in event["data"]]
    return [(0, json.dumps(event))]


def said(path, events):
    texts = defaultdict(str)
    for event in events:
        for index, text in pieces(path, event):
            texts[index] += text
    return dict(texts)


def is_last(path, event):
    if path in (COMPLETIONS, CHAT):
        return bool(event.get("usage"))
    return event["type"] in ("response.completed", "response.incomplete", "message_stop")


def ask(server, path, body):
    answer = server.post(path, body)
    if answer.status == 503:
        raise Refused(answer.headers.get("retry-after"))
    if answer.status != 200:
        raise Lost(f"{path}: status {answer.status}: {answer.text[:200]}")
    return answer.json()


def stream(server, path, body):
    options = {"stream_options": {"include_usage": True}} if path in (COMPLETIONS, CHAT) else {}
    try:
        for event in server.stream(path, {**body, **options}):
            if event.get("error") or event.get("type") in ("error", "response.failed"):
                raise Lost(f"{path}: error event {str(event)[:200]}")
            yield event
    except RuntimeError as error:  # of Server.stream
        if str(error).startswith("status 503"):
            raise Refused from None
        raise Lost(f"{path}: {error}") from None


def whole_stream(server, path, body):
    events = list(stream(server, path, body))
    if not events or not is_last(path, events[-1]):
        raise Lost(f"{path}: a stream was cut after {len(events)} events")
    return events


class Load:
    """Clients, each with a thread of its own, from `start` to `stop`."""

    def __init__(self, server, options):
        self.server = server
        self.counts = Counter()
        self.failures = []
        self.expected = [said(path, [ask(server, path, body)]) for path, body in QUESTIONS]
        self.expected_long = said(COMPLETIONS, [ask(server, COMPLETIONS, LONG)])
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._is_ending = False  # the server: from now on clients may be refused, cut off and told of errors
        works = [self._client] * options.clients + [self._poller] * 2
        self._threads = [threading.Thread(target=work, args=(i, random.Random(options.seed * 1000 + i)), daemon=True)
                         for i, work in enumerate(works)]  # fmt: skip

    def start(self):
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopping.set()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        n_stuck = sum(thread.is_alive() for thread in self._threads)
        if n_stuck:
            self.failures.append(f"{n_stuck} clients still wait for an answer")

    def expect_end(self):
        self._is_ending = True

    def count(self, what):
        with self._lock:
            self.counts[what] += 1

    def _client(self, number, rng):
        actions = (self._ask, self._leave_stream, self._leave_early, self._send_garbage, self._new_grammar, self._keep_response)
        action = actions[number % len(actions)]  # however slow the server is, each is done
        while not self._stopping.is_set():
            name, seed = action.__name__.strip("_"), rng.random()
            while not self._try(name, lambda: action(random.Random(seed))):
                time.sleep(0.1)  # and once more: nobody is to go away without an answer
            action = rng.choices(actions, (60, 15, 5, 5, 10, 5))[0]

    def _try(self, name, action):
        """False when the queue is full."""
        try:
            action()
        except Refused:
            self.count("refused")
            return self._is_ending
        except Exception as error:  # whatever a client sees
            if not self._is_ending:
                self.failures.append(f"{name}: {type(error).__name__}: {error}")
            time.sleep(0.05)
            return True
        self.count(name)
        return True

    def _ask(self, rng):
        number = rng.randrange(len(QUESTIONS))
        path, body = QUESTIONS[number]
        is_stream = path in STREAMS and rng.random() < 0.7
        answer = said(path, whole_stream(self.server, path, body) if is_stream else [ask(self.server, path, body)])
        if answer != self.expected[number]:
            raise Lost(f"{path} {body}: {answer}, alone {self.expected[number]}")

    def _leave_stream(self, rng):
        events = stream(self.server, rng.choice((COMPLETIONS, COMPLETIONS, CHAT)), {**LONG, "messages": HELLO, "n": rng.randint(1, 3)})
        for _ in range(rng.randint(1, 12)):
            next(events, None)
        events.close()

    def _leave_early(self, rng):
        """Before the answer, or before the end of the request."""
        connection = self.server.connect()
        body = json.dumps(LONG).encode()
        connection.putrequest("POST", COMPLETIONS)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body) + rng.choice((0, 0, 5))))
        connection.endheaders(body)
        time.sleep(rng.choice((0, 0.01, 0.1)))
        connection.close()

    def _send_garbage(self, rng):
        path, body, status = rng.choice(BAD)
        answer = self.server.post(path, body, {"Content-Type": "application/json"})
        if answer.status == 503:
            raise Refused
        if answer.status != status:
            raise Lost(f"{path}: status {answer.status} for {body}")

    def _new_grammar(self, rng):
        """One that nobody has asked for: it is compiled while others are."""
        word = f"w{rng.randrange(10**9)}"
        body = {"prompt": "Word:", "max_tokens": 40, "structured_outputs": {"regex": word + "-[0-9]{3}"}}
        text = ask(self.server, COMPLETIONS, body)["choices"][0]["text"]
        if not re.fullmatch(word + "-[0-9]{3}", text):
            raise Lost(f"{text!r} does not match {word}-[0-9]{{3}}")

    def _keep_response(self, rng):
        first = ask(self.server, RESPONSES, {"input": "Say hello.", "max_output_tokens": rng.randint(1, 8)})
        path = f"{RESPONSES}/{first['id']}"
        if self._ask_store("GET", path)["output"] != first["output"]:
            raise Lost(f"{path} has changed")
        self._ask_store("DELETE", path)

    def _ask_store(self, method, path):
        answer = self.server.request(method, path)
        if answer.status != 200:
            raise Lost(f"{method} {path}: status {answer.status}")
        return answer.json()

    def _poller(self, _, rng):
        """On connections that stay open for a while."""
        while not self._stopping.is_set():
            connection = self.server.connect()
            try:
                for _ in range(rng.randint(1, 50)):
                    self._try("poll", lambda: self._poll(connection, rng))
                    time.sleep(rng.choice((0, 0.02)))
            finally:
                connection.close()

    def _poll(self, connection, rng):
        path = rng.choice(("/metrics", "/metrics", "/health", "/load", "/v1/models", "/version"))
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or path == "/metrics" and b"vllm:num_requests_running" not in body:
            raise Lost(f"{path}: status {answer.status}")
