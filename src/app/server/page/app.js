"use strict";

// One conversation. It lasts as long as the tab, reloads included; theme and settings last longer, the API key does not.

const messages = []; // {role, content}, of answers with {reasoning, note} that only the reader sees
let current = null; // the Answer that is being written
let following = true; // whether the reader is at the end and wants to stay there
const hasKeys = () => !matchMedia("(pointer: coarse)").matches; // keys on a screen have no Shift+Enter and cover the page

// ---- What outlives a reload -----------------------------------------------

// By path, so that servers behind one proxy do not see each other's. A browser may refuse to keep anything, or so much:
// then the page works as before, but forgets.
const nameOf = (name) => `packhorse ${location.pathname} ${name}`;

function keep(area, name, value) {
  try {
    window[area].setItem(nameOf(name), value);
  } catch (error) {
    console.warn(`${name} is not kept: ${error.message}`);
  }
}

function kept(area, name) {
  try {
    return window[area].getItem(nameOf(name));
  } catch {
    return null;
  }
}

function keepMessages() {
  const partial = current?.content ? [current.message()] : [];
  keep("sessionStorage", "messages", JSON.stringify([...messages, ...partial]));
}

// ---- Conversation ---------------------------------------------------------

const show = (text) => (at("status").textContent = text);

function scrollToEnd() {
  following = true;
  at("chat").scrollTo({ top: at("chat").scrollHeight, behavior: "instant" });
}

function addArticle(role) {
  at("welcome").hidden = true;
  const article = make("article", role);
  article.setAttribute("aria-label", role === "user" ? "You" : "Answer");
  const text = make("div", "text");
  article.append(text);
  at("chat").append(article);
  return { article, text };
}

/** An answer on the screen, while it comes or as it was kept. */
class Answer {
  constructor({ content = "", reasoning = "", note = "" } = {}) {
    Object.assign(this, addArticle("assistant"), { content, reasoning, note });
    this.controller = new AbortController();
    this.begin = performance.now();
    this.tokens = 0;
  }

  message() {
    return { role: "assistant", content: this.content, reasoning: this.reasoning, note: this.note };
  }

  take({ usage, choices: [choice] }) {
    if (usage) [this.tokens, this.inContext] = [usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens];
    this.reason = choice?.finish_reason ?? this.reason;
    const thought = choice?.delta.reasoning ?? "";
    const content = choice?.delta.content ?? "";
    if (!content && !thought) return;
    this.last = performance.now();
    this.first ??= this.last;
    if (!usage) this.tokens += 1;
    this.content += content;
    this.reasoning += thought;
    this.pending ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.pending = undefined;
    if (this.reasoning) this.showReasoning();
    render(this.text, this.content);
    at("speed").textContent = this.speed();
    if (following) scrollToEnd();
  }

  showReasoning() {
    if (!this.thoughts) {
      this.thoughts = make("div");
      const box = make("details");
      box.append(make("summary"), this.thoughts);
      this.article.prepend(box);
    }
    this.article.querySelector("summary").textContent = this.content || !this.isBusy() ? "Reasoning" : "Reasoning …";
    render(this.thoughts, this.reasoning);
  }

  isBusy() {
    return current === this;
  }

  speed() {
    const seconds = (this.last - this.first) / 1000;
    return `${this.tokens} tokens` + (seconds > 0 ? ` · ${((this.tokens - 1) / seconds).toFixed(1)} tokens/s` : "");
  }

  describe() {
    if (!this.tokens) return "";
    const parts = [this.speed()];
    if (this.first) parts.push(`first after ${((this.first - this.begin) / 1000).toFixed(2)} s`);
    if (this.inContext) parts.push(`context ${this.inContext} of ${contextLength() ?? "?"}`);
    if (this.reason === "length") parts.push("cut off: no tokens left");
    if (this.reason === "stopped") parts.push("stopped");
    return parts.join(" · ");
  }

  /** Shows what remains to be shown when no more comes. */
  end(problem = "") {
    cancelAnimationFrame(this.pending);
    this.paint();
    at("speed").textContent = "";
    if (problem) this.article.append(make("p", "error", problem));
    const tools = make("div", "tools");
    tools.append(make("span", "", this.note));
    if (this.content) tools.append(copyButton(() => this.content));
    const again = make("button", "again", "Again");
    Object.assign(again, { type: "button", title: "Answer this question anew", onclick: () => answerAgain(this) });
    tools.append(again);
    this.article.append(tools);
    if (following) scrollToEnd();
  }
}

function setCurrent(answer) {
  current = answer;
  document.querySelector("article.busy")?.classList.remove("busy");
  current?.article.classList.add("busy");
  at("send").hidden = Boolean(current);
  at("stop").hidden = !current;
  fit();
}

function inWords(error) {
  if (error.status === 401) askForKey();
  if (!error.message.includes("maximum context length")) return error.message;
  return `${error.message}. Begin a new chat, or ask for less.`;
}

async function receive(answer) {
  const system = at("system").value.trim();
  const said = messages.map(({ role, content }) => ({ role, content }));
  const body = { ...settingsOfChat(), messages: [...(system ? [{ role: "system", content: system }] : []), ...said] };
  for await (const chunk of streamChat(body, answer.controller.signal)) answer.take(chunk);
}

/** Has the last question answered. */
async function answerLast() {
  const answer = new Answer();
  setCurrent(answer);
  scrollToEnd();
  let problem = "";
  try {
    await receive(answer);
  } catch (error) {
    if (current !== answer) return; // a new chat has begun
    if (error.name === "AbortError") answer.reason = "stopped";
    else problem = inWords(error);
  }
  const isFocusFree = [at("stop"), document.body].includes(document.activeElement);
  setCurrent(null);
  answer.note = answer.describe();
  answer.end(problem);
  at("said").textContent = problem || answer.content; // once and whole, for screen readers
  if (answer.content) messages.push(answer.message());
  keepMessages();
  if (isFocusFree && hasKeys()) at("input").focus();
}

function ask(text) {
  if (messages.at(-1)?.role === "user") messages.pop(); // it has no answer, and a template may want them in turn
  messages.push({ role: "user", content: text });
  addArticle("user").text.textContent = text;
  keepMessages();
  return answerLast();
}

function answerAgain(answer) {
  if (current) return;
  answer.article.remove();
  if (messages.at(-1).role === "assistant") messages.pop();
  answerLast();
}

function submit() {
  const text = at("input").value.trim();
  if (!text || current) return;
  at("input").value = "";
  ask(text);
}

function stop() {
  current?.controller.abort();
}

function newChat() {
  const answer = current;
  setCurrent(null);
  answer?.controller.abort();
  cancelAnimationFrame(answer?.pending);
  messages.length = 0;
  keepMessages();
  document.querySelectorAll("#chat article").forEach((article) => article.remove());
  at("welcome").hidden = false;
  at("speed").textContent = at("said").textContent = "";
  at("input").focus();
}

function restore() {
  messages.push(...JSON.parse(kept("sessionStorage", "messages") ?? "[]"));
  for (const message of messages) {
    if (message.role === "user") addArticle("user").text.textContent = message.content;
    else new Answer(message).end();
  }
  if (messages.at(-1)?.role === "user") new Answer().end("No answer came.");
  scrollToEnd();
}

// ---- Models and key -------------------------------------------------------

const models = new Map(); // by id, as /v1/models has them
const contextLength = () => models.get(at("model-choice").value)?.max_model_len;

function showModel() {
  const name = at("model-choice").value;
  at("model").textContent = name;
  document.title = name ? `${name} · Packhorse` : "Packhorse";
  at("max-tokens").placeholder = contextLength() ? `As the context of ${contextLength()} allows` : "As the context allows";
}

async function loadModels() {
  try {
    for (const model of await listModels()) models.set(model.id, model);
    at("model-choice").replaceChildren(...[...models.keys()].map((id) => new Option(id, id)));
    showModel();
    show("");
  } catch (error) {
    show(inWords(error));
  }
}

function askForKey() {
  openSettings(true);
  at("key").focus();
}

// ---- Controls -------------------------------------------------------------

function fit() {
  const input = at("input");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
  at("send").disabled = !input.value.trim();
}

function openSettings(open) {
  at("settings").hidden = !open;
  at("open-settings").setAttribute("aria-expanded", String(open));
}

function onEscape() {
  if (current) return stop();
  if (at("settings").hidden) return;
  openSettings(false);
  at("open-settings").focus();
}

function keepSettings() {
  for (const id of ["system", "temperature", "top-p", "max-tokens"]) {
    at(id).value = kept("localStorage", id) ?? "";
    at(id).addEventListener("input", () => keep("localStorage", id, at(id).value));
  }
  at("key").value = kept("sessionStorage", "key") ?? "";
  at("key").addEventListener("change", () => {
    keep("sessionStorage", "key", at("key").value);
    loadModels();
  });
}

/** The system's colours, unless the reader has chosen others: the style sheet knows both. */
function followTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = kept("localStorage", "theme");
  if (chosen) root.dataset.theme = chosen;
  at("theme").onclick = () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
    root.dataset.theme = isDark ? "light" : "dark";
    keep("localStorage", "theme", root.dataset.theme);
  };
}

/** Follows what is written as long as the reader is at the end, also when the window or the field below changes. */
function followEnd() {
  const chat = at("chat");
  chat.addEventListener("scroll", () => {
    following = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 8;
    at("down").hidden = following;
  });
  new ResizeObserver(() => following && scrollToEnd()).observe(chat);
  at("down").onclick = scrollToEnd;
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
at("input").addEventListener("input", fit);
at("input").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !hasKeys()) return;
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") onEscape();
  if (event.key.toLowerCase() === "o" && event.ctrlKey && event.shiftKey) {
    event.preventDefault();
    newChat();
  }
});
window.addEventListener("pagehide", keepMessages);
at("stop").onclick = stop;
at("new").onclick = newChat;
at("open-settings").onclick = () => openSettings(at("settings").hidden);
at("model-choice").onchange = showModel;

keepSettings();
followTheme();
followEnd();
restore();
fit();
loadModels();
