"use strict";

// One conversation with the server that sent this page. Nothing is kept but the theme and the settings.

const at = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

const messages = []; // {role, content} as the server takes them
let running = null; // AbortController of the answer that is being written

// ---- Text -----------------------------------------------------------------

// A little Markdown, as elements whose texts are set as texts: what a model writes is never markup.

function appendInline(parent, text) {
  const marks = /(`[^`\n]+`|\*\*[^*\n]+\*\*|\*[^*\s][^*\n]*\*)/;
  for (const piece of text.split(marks)) {
    if (piece.length > 2 && piece.startsWith("`") && piece.endsWith("`")) parent.append(make("code", "", piece.slice(1, -1)));
    else if (piece.length > 4 && piece.startsWith("**") && piece.endsWith("**")) parent.append(make("strong", "", piece.slice(2, -2)));
    else if (piece.length > 2 && piece.startsWith("*") && piece.endsWith("*")) parent.append(make("em", "", piece.slice(1, -1)));
    else if (piece) parent.append(piece);
  }
}

function codeBlock(lines) {
  const block = make("pre");
  const code = make("code", "", lines.join("\n"));
  const copy = make("button", "", "Copy");
  copy.type = "button";
  copy.onclick = async () => {
    await navigator.clipboard?.writeText(code.textContent);
    copy.textContent = "Copied";
  };
  block.append(code, copy);
  return block;
}

function list(lines) {
  const element = make(/^\s*\d/.test(lines[0]) ? "ol" : "ul");
  if (element.tagName === "OL") element.start = parseInt(lines[0], 10);
  for (const line of lines) appendInline(element.appendChild(make("li")), line.replace(/^\s*([-*+]|\d+[.)])\s+/, ""));
  return element;
}

/** The blocks of a text: each a kind and its lines. */
function blocksOf(text) {
  const blocks = [];
  let code = false;
  for (const line of text.split("\n")) {
    const last = blocks.at(-1);
    if (/^\s*```/.test(line)) {
      code = !code;
      if (code) blocks.push({ kind: "code", lines: [] });
    } else if (code) {
      last.lines.push(line);
    } else if (!line.trim()) {
      blocks.push({ kind: "gap", lines: [] });
    } else {
      const kind = /^\s*([-*+]|\d+[.)])\s+/.test(line) ? "list" : /^#{1,6}\s/.test(line) ? "heading" : "text";
      if (last?.kind === kind && kind !== "heading") last.lines.push(line);
      else blocks.push({ kind, lines: [line] });
    }
  }
  return blocks.filter((block) => block.kind !== "gap");
}

function elementOf(block) {
  if (block.kind === "code") return codeBlock(block.lines);
  if (block.kind === "list") return list(block.lines);
  const element = make(block.kind === "heading" ? "h3" : "p");
  appendInline(element, block.lines.join("\n").replace(/^#{1,6}\s+/, ""));
  return element;
}

/** Shows `text` in `parent`, touching only the blocks that have changed since the last time. */
function render(parent, text) {
  const blocks = blocksOf(text);
  blocks.forEach((block, i) => {
    const key = block.kind + "\n" + block.lines.join("\n");
    const old = parent.children[i];
    if (old?.source === key) return;
    const element = elementOf(block);
    element.source = key;
    if (old) old.replaceWith(element);
    else parent.append(element);
  });
  while (parent.children.length > blocks.length) parent.lastChild.remove();
}

// ---- Server ---------------------------------------------------------------

function headers() {
  const key = at("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function explain(response) {
  if (response.status === 401) return "The server asks for an API key: enter it in the settings.";
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

/** The data of each server-sent event, as it comes. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    for (let end; (end = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(end + 2)) {
      for (const line of buffer.slice(0, end).split("\n")) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  }
}

function requestBody() {
  const system = at("system").value.trim();
  const limit = parseInt(at("max-tokens").value, 10);
  return JSON.stringify({
    model: at("model-choice").value || undefined,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...messages],
    temperature: Number(at("temperature").value),
    ...(limit > 0 ? { max_completion_tokens: limit } : {}),
    stream: true,
    stream_options: { include_usage: true },
  });
}

async function loadModels() {
  try {
    const response = await fetch("v1/models", { headers: headers() });
    if (!response.ok) return show(await explain(response));
    const models = (await response.json()).data;
    at("model-choice").replaceChildren(...models.map((model) => new Option(model.id, model.id)));
    at("model").textContent = models[0]?.id ?? "";
    show("");
  } catch {
    show("The server cannot be reached.");
  }
}

// ---- Conversation ---------------------------------------------------------

const show = (text) => (at("status").textContent = text);

const isAtEnd = () => at("chat").scrollHeight - at("chat").scrollTop - at("chat").clientHeight < 80;
const scrollToEnd = () => at("chat").scrollTo({ top: at("chat").scrollHeight, behavior: "instant" });

function addArticle(role) {
  at("welcome").hidden = true;
  const article = make("article", role);
  article.setAttribute("aria-label", role === "user" ? "You" : "Answer");
  const text = make("div", "text");
  article.append(text);
  at("chat").append(article);
  return { article, text };
}

/** An answer on the screen while it comes. */
class Answer {
  constructor() {
    Object.assign(this, addArticle("assistant"));
    this.article.classList.add("busy");
    this.content = this.reasoning = "";
    this.begin = performance.now();
    this.tokens = 0;
  }

  take(chunk) {
    if (chunk.error) throw new Error(chunk.error.message);
    if (chunk.usage) this.tokens = chunk.usage.completion_tokens;
    const delta = chunk.choices?.[0]?.delta;
    const thought = delta?.reasoning ?? delta?.reasoning_content;
    if (!delta || !(delta.content || thought)) return;
    this.first ??= performance.now();
    if (!chunk.usage) this.tokens += 1;
    this.content += delta.content ?? "";
    this.reasoning += thought ?? "";
    this.pending ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.pending = undefined;
    const follow = isAtEnd();
    if (this.reasoning) this.showReasoning();
    render(this.text, this.content);
    show(this.speed());
    if (follow) scrollToEnd();
  }

  showReasoning() {
    if (!this.thoughts) {
      const box = make("details");
      this.thoughts = make("div");
      box.append(make("summary", "", "Reasoning"), this.thoughts);
      this.article.prepend(box);
    }
    render(this.thoughts, this.reasoning);
  }

  speed() {
    const seconds = (performance.now() - (this.first ?? this.begin)) / 1000;
    const rate = this.tokens > 1 && seconds > 0 ? ` · ${((this.tokens - 1) / seconds).toFixed(1)} tokens/s` : "";
    return `${this.tokens} tokens${rate}`;
  }

  end(problem) {
    cancelAnimationFrame(this.pending);
    this.paint();
    this.article.classList.remove("busy");
    if (problem) this.article.append(make("p", "error", problem));
    const wait = this.first ? ` · first after ${((this.first - this.begin) / 1000).toFixed(2)} s` : "";
    if (this.tokens) this.article.append(make("div", "meta", this.speed() + wait));
    scrollToEnd();
  }
}

async function receive(answer, signal) {
  const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: requestBody(), signal });
  if (!response.ok) throw new Error(await explain(response));
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    answer.take(JSON.parse(data));
  }
  throw new Error("The answer broke off.");
}

function setRunning(controller) {
  running = controller;
  at("send").hidden = Boolean(running);
  at("stop").hidden = !running;
  at("send").disabled = !at("input").value.trim();
}

async function ask(text) {
  messages.push({ role: "user", content: text });
  addArticle("user").text.textContent = text;
  scrollToEnd();
  const controller = new AbortController();
  setRunning(controller);
  const answer = new Answer();
  let problem = "";
  try {
    await receive(answer, controller.signal);
  } catch (error) {
    if (error.name === "TypeError") problem = "The server cannot be reached.";
    else if (error.name !== "AbortError") problem = error.message;
  }
  if (running !== controller) return; // a new chat has begun
  answer.end(problem);
  // A question without an answer would stand twice when it is asked again.
  if (answer.content) messages.push({ role: "assistant", content: answer.content });
  else messages.pop();
  setRunning(null);
  at("input").focus();
}

function submit() {
  const text = at("input").value.trim();
  if (!text || running) return;
  at("input").value = "";
  fit();
  ask(text);
}

function stop() {
  running?.abort();
}

function newChat() {
  stop();
  setRunning(null);
  messages.length = 0;
  document.querySelectorAll("#chat article").forEach((article) => article.remove());
  at("welcome").hidden = false;
  show("");
  at("input").focus();
}

// ---- Controls -------------------------------------------------------------

function fit() {
  const input = at("input");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
  at("send").disabled = !input.value.trim();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function keepSettings() {
  for (const id of ["system", "temperature", "max-tokens"]) {
    const field = at(id);
    field.value = localStorage.getItem(id) ?? field.value;
    field.addEventListener("input", () => localStorage.setItem(id, field.value));
  }
  at("key").value = sessionStorage.getItem("key") ?? "";
  at("key").addEventListener("change", () => {
    sessionStorage.setItem("key", at("key").value);
    loadModels();
  });
  const tell = () => (at("temperature-value").textContent = Number(at("temperature").value).toFixed(2));
  at("temperature").addEventListener("input", tell);
  tell();
}

function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
  setTheme(chosen());
  dark.addEventListener("change", () => setTheme(chosen()));
  at("theme").onclick = () => {
    localStorage.setItem("theme", chosen() === "dark" ? "light" : "dark");
    setTheme(chosen());
  };
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
at("input").addEventListener("input", fit);
at("input").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key.toLowerCase() === "o" && event.ctrlKey && event.shiftKey) {
    event.preventDefault();
    newChat();
  }
});
at("stop").onclick = stop;
at("new").onclick = newChat;
at("open-settings").onclick = () => {
  at("settings").hidden = !at("settings").hidden;
  at("open-settings").setAttribute("aria-expanded", String(!at("settings").hidden));
};
at("model-choice").onchange = () => (at("model").textContent = at("model-choice").value);

keepSettings();
followTheme();
fit();
loadModels();
