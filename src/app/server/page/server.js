"use strict";

// The server that sent this page. Its addresses are relative: a proxy may have put all of it under a prefix.

const at = (id) => document.getElementById(id);

/** What went wrong, in words for the reader; `status` is 0 where no answer came. */
class ServerError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function explain(response, key) {
  if (response.status === 401) return key ? "The server does not take this API key." : "The server asks for an API key.";
  try {
    return JSON.parse(await response.text()).error.message;
  } catch {
    return `The server answered ${response.status}.`; // a proxy's page, say
  }
}

async function request(path, options = {}) {
  const key = at("key").value.trim();
  if (/[^\x21-\x7e]/.test(key)) throw new ServerError("The API key has characters that no key has.", 401);
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : new ServerError("The server cannot be reached.");
  }
  if (!response.ok) throw new ServerError(await explain(response, key), response.status);
  return response;
}

async function listModels() {
  return (await (await request("v1/models")).json()).data;
}

/** The data of each server-sent event, as it comes. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new ServerError("The connection broke off.");
    });
    if (done) return;
    buffer += value;
    for (let end; (end = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(end + 2)) {
      for (const line of buffer.slice(0, end).split("\n")) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  }
}

/** The chunks of the answer to a chat. */
async function* streamChat(body, signal) {
  const response = await request("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServerError(chunk.error.message);
    yield chunk;
  }
  throw new ServerError("The answer broke off.");
}

/** The fields of a chat that the settings say; what is left empty is the model's own. */
function settingsOfChat() {
  const number = (id) => (at(id).value === "" ? undefined : Number(at(id).value));
  return {
    model: at("model-choice").value || undefined,
    temperature: number("temperature"),
    top_p: number("top-p"),
    max_completion_tokens: number("max-tokens"),
    stream: true,
    stream_options: { include_usage: true },
  };
}
