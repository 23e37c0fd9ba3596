"""The interactive chat: what is typed at a pseudo-terminal, and the same from a pipe."""

import os
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest
from terminal import Terminal

SAMPLED = ["--temperature", "1", "--seed", "5", "--max-tokens", "24"]  # so that other prompts get other answers


@pytest.fixture(scope="module")
def model(nf4_directory, tmp_path_factory):
    """A model and nothing else: files that do not belong to it would be told."""
    directory = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(nf4_directory, directory, ignore=shutil.ignore_patterns("reference*"), copy_function=shutil.copyfile)
    return directory


@pytest.fixture
def state(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def chat(program, model, state):
    """Starts a chat and waits for its prompt."""
    terminals = []

    def start(*arguments, directory=model, env=None):
        terminal = Terminal([program, "run", directory, *arguments], {**state, **(env or {})})
        terminals.append(terminal)
        terminal.wait_for("> ")
        return terminal

    yield start
    for terminal in terminals:
        terminal.__exit__()


@pytest.fixture
def answer_to(run_program, model):
    """What one prompt is answered, without what a terminal does not show."""

    def answer(prompt, *arguments):
        result = run_program("run", model, "-p", prompt, *SAMPLED, *arguments)
        assert result.returncode == 0
        return visible(result.stdout)

    return answer


def visible(text):
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", "", text)


def n_prompt_tokens(stats):
    return int(re.search(r"(\d+) prompt tokens", stats)[1])


def test_answer_and_end(chat, answer_to):
    terminal = chat(*SAMPLED)
    assert visible(terminal.ask("Hello")) + "\n" == answer_to("Hello")
    assert terminal.is_usual() is False  # at the prompt
    terminal.type("\x04")
    assert terminal.wait_end() == 0 and terminal.is_usual()
    assert "generated at" not in terminal.shown()


@pytest.mark.parametrize(
    "keys",
    [
        "one\\\rtwo\r",
        '"""\rone\rtwo\r"""\r',
        '"""one\rtwo"""\r',
        "\x1b[200~one\rtwo\x1b[201~\r",  # a bracketed paste
        "\x1b[200~one\ntwo\x07\r\x1b[201~\r",
    ],
)
def test_many_lines_are_one_message(chat, answer_to, keys):
    terminal = chat(*SAMPLED)
    terminal.type(keys)
    shown = terminal.wait_for("\n> ")  # what is typed during an answer stands amid it
    assert answer_to("one\ntwo") in visible(shown) + "\n"
    terminal.type("/exit\r")
    assert terminal.wait_end() == 0


def test_commands(chat, answer_to):
    terminal = chat(*SAMPLED)
    shown = terminal.ask("/help")
    assert all(command in shown for command in ("/help", "/system", "/clear", "/stats", "/exit", "Ctrl-C"))
    assert "no answer yet" in terminal.ask("/stats")
    assert "'/claer'" in (shown := terminal.ask("/claer")) and "did you mean /clear?" in shown
    assert "no system message" in terminal.ask("/system")
    assert "system message: Shout." in terminal.ask("/system Shout.")
    assert visible(terminal.ask("Hello")) + "\n" == answer_to("Hello", "--system", "Shout.")
    first = terminal.ask("/stats")
    assert re.search(r"\d+ prompt tokens at [\d.]+/s, 24 generated at [\d.]+/s", first)
    assert "speed follows" in terminal.ask("/stats on")
    second = terminal.ask("Hello")
    assert "24 generated at" in second and n_prompt_tokens(second) > n_prompt_tokens(first)
    assert "forgotten" in terminal.ask("/clear")
    assert n_prompt_tokens(terminal.ask("Hello")) == n_prompt_tokens(first)  # the system message stayed
    assert "no system message" in terminal.ask('/system ""')
    terminal.ask("/clear")
    terminal.ask("/stats off")
    assert "generated at" not in terminal.ask("Hello")
    assert n_prompt_tokens(terminal.ask("/stats")) != n_prompt_tokens(first)
    terminal.type("/exit\r")
    assert terminal.wait_end() == 0


def test_history_goes_through_the_template_and_the_cache(chat, run_program, model):
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    terminal = chat("--chat-template", template, "--temperature", "0", "--max-tokens", "40", "--stats")
    *answer, first = terminal.ask("How are you?").split("\n")
    second = terminal.ask("And now?")
    third = terminal.ask("Really?")
    cached = int(re.search(r"\((\d+) from the cache\)", third)[1])
    assert n_prompt_tokens(second) // 16 * 16 <= cached < n_prompt_tokens(third)  # whole blocks
    answer = "\n".join(answer)
    if visible(answer) == answer.strip("\r"):  # else the terminal did not show all that was said
        prompt = f"user: How are you?\nassistant: {answer}\nuser: And now?\nassistant:"
        raw = run_program("run", model, "--raw", "-p", prompt, "--max-tokens", "1", "--stats")
        assert abs(n_prompt_tokens(raw.stderr) - n_prompt_tokens(second)) <= 2, (answer, second, raw.stderr)


def test_interrupted_answer_stays(chat):
    slow = ["--isa", "ref", "--threads", "1"]  # an answer of seconds
    terminal = chat("--temperature", "0", "--max-tokens", "1900", "--stats", *slow)
    terminal.type("Tell me a long story.\r")
    terminal.wait_for("\n")
    while not terminal.shown()[terminal.seen :].strip():
        assert terminal._read(60)
    terminal.type("\x03")
    shown = terminal.wait_for("\n> ")
    assert "stopped: what was said so far stays" in shown
    said = int(re.search(r"(\d+) generated at", shown)[1])
    assert 0 < said < 1900
    before = n_prompt_tokens(shown)
    terminal.type("Go on.\r")
    terminal.wait_for("\n")
    time.sleep(0.05)
    terminal.type("\x03")
    after = n_prompt_tokens(terminal.wait_for("\n> "))
    assert after > before + said // 2  # tokens of a text may be fewer than those that made it
    assert "no answer" not in terminal.ask("/stats")


def test_interrupt_at_the_prompt(chat):
    terminal = chat()
    terminal.type("/exit")
    terminal.type("\x03")
    terminal.wait_for("Ctrl-C again")
    terminal.wait_for("> ")
    assert "no answer yet" in terminal.ask("/stats")  # the line was cleared
    terminal.type('"""half a message\r')
    terminal.wait_for(". ")
    terminal.type("\x03")
    terminal.wait_for("> ")
    assert "no answer yet" in terminal.ask("/stats")
    terminal.type("\x03")
    terminal.wait_for("> ")
    terminal.type("\x03")
    assert terminal.wait_end() == 0


def test_editing_keys(chat):
    left, up, down, home, end, delete = "\x1b[D", "\x1b[A", "\x1b[B", "\x1b[H", "\x1b[F", "\x1b[3~"
    terminal = chat()
    for keys in (
        "/sats" + left * 3 + "t",
        "stats" + home + "/",
        "x/statz" + home + delete + end + "\x7fs",
        "/stats\xe9\u6f22" + "\x7f" * 2,  # two characters of several bytes
        "wrong\x15/stats",
        "\x1a/stats",  # nobody could continue it here, so it is not stopped
    ):
        assert "no answer yet" in terminal.ask(keys), keys
    assert "no system message" in terminal.ask("/system")
    assert "no answer yet" in terminal.ask(up * 2)
    assert "no system message" in terminal.ask(up * 3 + down)
    terminal.type("\x12tat\x05\r")  # search backwards
    terminal.wait_for("no answer yet")


def test_history_is_kept_for_the_next_chat(chat, state):
    terminal = chat(*SAMPLED)
    terminal.ask("/stats")
    terminal.type("one\\\rtwo\r")
    terminal.wait_for("\n> ")
    terminal.type("\x04")
    assert terminal.wait_end() == 0
    path = os.path.join(state["XDG_STATE_HOME"], "packhorse", "chat_history")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as file:
        assert file.read() == '"/stats"\n"one\\ntwo"\n'
    assert "no answer yet" in chat().ask("\x1b[A\x1b[A")
    assert "no answer yet" not in chat("--no-history").ask("\x1b[A/help")
    with open(path) as file:
        assert "/help" not in file.read()


def test_history_that_cannot_be_written(chat, tmp_path):
    (tmp_path / "file").write_text("")
    terminal = chat(env={"XDG_STATE_HOME": str(tmp_path / "file")})
    assert "without history" in terminal.shown()
    assert "no answer yet" in terminal.ask("/stats")


def test_full_context(chat):
    terminal = chat("--max-model-len", "128", "--temperature", "0")
    assert "context is full: /clear" in terminal.ask("Hello")
    shown = terminal.ask("And more? " * 40)
    assert "error: the chat no longer fits the context" in shown and "/clear" in shown
    terminal.ask("/clear")
    assert "no longer fits" not in terminal.ask("Hello")


def test_colours(chat):
    assert b"\x1b[1m" in chat().raw
    terminal = chat(env={"NO_COLOR": "1"})
    terminal.ask("/stats")
    assert not re.search(rb"\x1b\[[0-9;]*m", terminal.raw)
    assert b"\x1b" not in chat(env={"TERM": "dumb"}).raw


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGHUP, -signal.SIGHUP)])
def test_signals_give_the_terminal_back(chat, number, status):
    terminal = chat()
    assert not terminal.is_usual()
    os.kill(terminal.child, number)
    assert terminal.wait_end() == status and terminal.is_usual()
    assert terminal.raw.endswith(b"\x1b[?2004l")


def test_progress_bar(chat, bf16_gguf, run_program):
    loading = chat("--no-history").shown()
    assert re.search(r"Loading weights +\d+% \[[# ]{20}\] [\d.]+/[\d.]+ [kM]B", loading)
    quantizing = chat("-q", "bitsandbytes", directory=bf16_gguf).raw.decode()
    assert re.search(r"Quantizing weights +\d+% \[[# ]{20}\] [\d.]+/[\d.]+ [kM]B", quantizing)
    bar, _, rest = quantizing.partition("Quantizing weights")
    assert re.search(r"\r +\r", rest)  # it was wiped
    assert run_program("run", bf16_gguf, "-q", "bitsandbytes", "-p", "x", "--max-tokens", "2").stderr == ""


def test_progress_bar_of_scoring(program, model, tmp_path):
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 60)
    command = [program, "eval", model, "--text", tmp_path / "text.txt", "--ctx", "128", "--stride", "128"]
    with Terminal(command) as terminal:
        assert terminal.wait_end() == 0
        assert re.search(r"Scoring +\d+% \[[# ]{20}\] \d+/\d+", terminal.shown())


def test_lines_of_a_pipe(run_program, model, answer_to, state):
    command = ["run", model, *SAMPLED]
    result = run_program(*command, stdin="Hello", env=state)
    assert result.returncode == 0 and result.stderr == "" and visible(result.stdout) == answer_to("Hello")
    blocks = run_program(*command, stdin='\n"""\none\ntwo\n"""\n', env=state)
    assert visible(blocks.stdout) == answer_to("one\ntwo")
    turns = run_program(*command, "--stats", stdin="one\\\r\ntwo\r\nHello\n/exit\nnever asked\n", env=state)
    assert turns.returncode == 0 and visible(turns.stdout).startswith(answer_to("one\ntwo"))
    first, second = re.findall(r"(\d+) prompt tokens", turns.stderr)
    assert turns.stderr.count("generated at") == 2 and int(second) > int(first) + 20
    assert "\x1b" not in turns.stderr and "> " not in turns.stderr
    assert not os.path.exists(state["XDG_STATE_HOME"])


@pytest.mark.parametrize(
    "lines, words",
    [
        ("", "standard input is empty"),
        (" \n\n", "standard input is empty"),
        ("/hlep\n", "did you mean /help?"),
        ('"""\nhalf\n', "closing"),
        ("word " * 3000 + "\n", "no longer fits the context"),
    ],
)
def test_errors_of_a_pipe(run_program, model, lines, words):
    result = run_program("run", model, stdin=lines)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("error: ") and words in result.stderr and result.stderr.count("\n") == 1


def test_a_dash_is_all_of_standard_input(run_program, model, answer_to):
    result = run_program("run", model, "-p", "-", *SAMPLED, stdin="one\ntwo\n")
    assert visible(result.stdout) == answer_to("one\ntwo")
    empty = run_program("run", model, "-p", "-", stdin="\n")
    assert empty.returncode == 2 and "standard input is empty" in empty.stderr


def test_a_program_at_the_other_end(program, model):
    """Each answer comes before the next line is asked for."""
    with subprocess.Popen(
        [program, "run", model, "--max-tokens", "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        for _ in range(2):
            process.stdin.write(b"Hello\n")
            process.stdin.flush()
            assert process.stdout.read(1)
        process.stdin.close()
        assert process.stdout.read().endswith(b"\n")
        assert process.wait(60) == 0
