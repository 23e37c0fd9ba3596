"use strict";

// A little Markdown, as elements whose texts are set as texts: what a model writes is never markup. Patterns look back over
// one line at most, and what nests deeper than kDeepest is text.

const kDeepest = 8;

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

// ---- Inside of a line -----------------------------------------------------

const kMarks = new RegExp(
  [
    /\\[*_`#|~]/, // an escaped mark
    /``[^\n]+?``|`[^`\n]+`/, // code
    /\*\*(?=\S)[^\n]+?\*\*(?!\*)/, // strong
    /\*(?![*\s])[^*\n]+\*|(?<!\w)_(?![_\s])[^_\n]+_(?!\w)/, // emphasis, but not of snake_case
    /~~[^~\n]+~~/, // struck out
    /\[[^[\]\n]+\]\([^()\s]+(?:\([^()\s]*\)[^()\s]*)*\)/, // [text](address)
    /https?:\/\/[^\s<>"'`()[\]*]*[^\s<>"'`()[\]*.,;:!?]/, // an address
  ]
    .map((mark) => mark.source)
    .join("|"),
);
const kTags = { "**": "strong", "~~": "del", "*": "em", _: "em" };

/** A link whose address shows before it is followed; the text alone where the address could be more than a page. */
function link(address, text, depth) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !["https:", "http:", "mailto:"].includes(url.protocol)) return text;
  const element = make("a");
  Object.assign(element, { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer" });
  appendInline(element, text, depth);
  return element;
}

function inlineOf(mark, depth) {
  if (mark.startsWith("\\")) return mark.slice(1);
  if (mark.startsWith("``")) return make("code", "", mark.slice(2, -2).replace(/^ (.*) $/, "$1"));
  if (mark.startsWith("`")) return make("code", "", mark.slice(1, -1));
  if (mark.startsWith("http")) return link(mark, mark, kDeepest);
  if (mark.startsWith("[")) {
    const middle = mark.indexOf("](");
    return link(mark.slice(middle + 2, -1), mark.slice(1, middle), depth + 1);
  }
  const around = [mark.slice(0, 2), mark[0]].find((each) => kTags[each]);
  const element = make(kTags[around]);
  appendInline(element, mark.slice(around.length, -around.length), depth + 1);
  return element;
}

function appendInline(parent, text, depth = 0) {
  if (depth >= kDeepest) return parent.append(text);
  for (let rest = text; rest; ) {
    const found = kMarks.exec(rest);
    if (!found) return parent.append(rest);
    if (found.index) parent.append(rest.slice(0, found.index));
    parent.append(inlineOf(found[0], depth));
    rest = rest.slice(found.index + found[0].length);
  }
}

// ---- Blocks ---------------------------------------------------------------

const kItem = /^(\s*)([-*+]|\d{1,9}[.)])(\s+|$)/;
const kFence = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))([^`]*)$/;
const indentOf = (line) => line.length - line.trimStart().length;
const outdent = (line, width) => line.slice(Math.min(width, indentOf(line)));
const closes = (line, fence) => line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], "");
const kBar = /(?<!\\)\|/;
const cellsOf = (line) => line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(kBar).map((cell) => cell.trim());

/** Whether lines[at] is the head of a table: a line of dashes under as many cells follows. */
function isTable(lines, at) {
  const under = lines[at + 1];
  if (!lines[at].includes("|") || !under?.includes("-")) return false;
  const cells = cellsOf(under);
  return cells.every((cell) => /^:?-+:?$/.test(cell)) && cells.length === cellsOf(lines[at]).length;
}

function kindOf(lines, at) {
  const line = lines[at];
  if (!line.trim()) return "gap";
  if (kFence.test(line)) return "code";
  if (/^ {0,3}#{1,6}\s/.test(line)) return "heading";
  if (/^ {0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) return "rule";
  if (/^ {0,3}>/.test(line)) return "quote";
  if (kItem.test(line)) return "list";
  return isTable(lines, at) ? "table" : "text";
}

/** One past the last line of the block of that kind that begins at lines[begin]. */
function endOf(kind, lines, begin) {
  let end = begin + 1;
  const goOn = (belongs) => {
    while (end < lines.length && belongs(lines[end])) ++end;
    return end;
  };
  if (kind === "heading" || kind === "rule") return end;
  if (kind === "code") {
    const fence = kFence.exec(lines[begin])[1];
    return goOn((line) => !closes(line, fence)) < lines.length ? end + 1 : end;
  }
  if (kind === "table") return goOn((line) => line.includes("|"));
  if (kind === "quote") return goOn((line) => /^ {0,3}>/.test(line));
  if (kind === "text") return goOn(() => kindOf(lines, end) === "text");
  const base = indentOf(lines[begin]);
  const isOrdered = (line) => /^\s*\d/.test(line);
  return goOn((line) => {
    if (!line.trim()) return end + 1 < lines.length && (kItem.test(lines[end + 1]) || indentOf(lines[end + 1]) > base + 1);
    if (indentOf(line) > base + 1) return true;
    return kindOf(lines, end) === "list" && isOrdered(line) === isOrdered(lines[begin]);
  });
}

function blocksOf(lines) {
  const blocks = [];
  for (let begin = 0, end; begin < lines.length; begin = end) {
    const kind = kindOf(lines, begin);
    end = kind === "gap" ? begin + 1 : endOf(kind, lines, begin);
    if (kind !== "gap") blocks.push({ kind, lines: lines.slice(begin, end) });
  }
  return blocks;
}

function codeBlock({ lines }) {
  const [, fence, language] = kFence.exec(lines[0]);
  const isClosed = lines.length > 1 && closes(lines.at(-1), fence);
  const inner = lines.slice(1, isClosed ? -1 : undefined).map((line) => outdent(line, indentOf(lines[0])));
  if (!isClosed && inner.at(-1) === "") inner.pop(); // the line that is to be written next
  const block = make("pre");
  const code = make("code", "", inner.join("\n"));
  block.append(code, make("span", "language", language.trim().slice(0, 40)), copyButton(() => code.textContent));
  return block;
}

function listBlock({ lines }, depth) {
  const base = indentOf(lines[0]);
  const element = make(/^\s*\d/.test(lines[0]) ? "ol" : "ul");
  if (element.tagName === "OL") element.start = parseInt(lines[0], 10);
  let item = [];
  let width = 0; // of the item's mark
  const close = () => {
    const li = element.appendChild(make("li"));
    const blocks = blocksOf(item);
    if (blocks[0]?.kind === "text") appendInline(li, blocks.shift().lines.join("\n"));
    li.append(...blocks.map((block) => elementOf(block, depth + 1)));
  };
  lines.forEach((line, i) => {
    const found = indentOf(line) <= base + 1 && kItem.exec(line);
    if (found && i) close();
    if (found) [item, width] = [[line.slice(found[0].length)], found[0].length];
    else item.push(outdent(line, width));
  });
  close();
  return element;
}

function tableBlock({ lines }) {
  const table = make("table");
  const sides = cellsOf(lines[1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "middle" : "right") : ""));
  for (const [i, line] of lines.entries()) {
    if (i === 1) continue;
    const row = table.appendChild(make("tr"));
    const cells = cellsOf(line).slice(0, sides.length); // of a short row no more: a text has as many cells as bars
    cells.forEach((cell, column) => appendInline(row.appendChild(make(i ? "td" : "th", sides[column])), cell));
  }
  const frame = make("div", "table");
  frame.append(table);
  return frame;
}

function elementOf(block, depth = 0) {
  const { kind, lines } = block;
  if (kind === "code") return codeBlock(block);
  if (kind === "rule") return make("hr");
  if (kind === "table") return tableBlock(block);
  if (kind === "list" && depth < kDeepest) return listBlock(block, depth);
  if (kind === "quote" && depth < kDeepest) {
    const quote = make("blockquote");
    const inner = blocksOf(lines.map((line) => line.replace(/^ {0,3}> ?/, "")));
    quote.append(...inner.map((each) => elementOf(each, depth + 1)));
    return quote;
  }
  const marks = kind === "heading" ? lines[0].trim().split(/\s/, 1)[0] : "";
  const element = make(marks ? `h${Math.min(marks.length + 2, 6)}` : "p"); // h1 and h2 are the page's
  appendInline(element, lines.join("\n").trim().slice(marks.length).trimStart());
  return element;
}

/** Shows `text` in `parent`, touching only the blocks that have changed since the last time. */
function render(parent, text) {
  const blocks = blocksOf(text.split("\n"));
  blocks.forEach((block, i) => {
    const source = block.lines.join("\n");
    const old = parent.children[i];
    if (old?.source === source) return;
    const element = elementOf(block);
    element.source = source;
    if (!old) parent.append(element);
    else if (!grow(old, element)) old.replaceWith(element);
  });
  while (parent.children.length > blocks.length) parent.lastChild.remove();
}

/** Makes `old` what `element` is, if both are code: what a reader has selected, scrolled or is about to copy stays. */
function grow(old, element) {
  if (old.tagName !== "PRE" || element.tagName !== "PRE") return false;
  const [code, language] = old.children;
  const text = element.firstChild.textContent;
  if (text.startsWith(code.textContent)) code.append(text.slice(code.textContent.length));
  else code.textContent = text;
  language.textContent = element.children[1].textContent;
  old.source = element.source;
  return true;
}

// ---- Copying --------------------------------------------------------------

/** Pages that came over plain HTTP from another machine have no clipboard but that of an old command. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = make("textarea", "unseen");
  field.value = text;
  document.body.append(field);
  const { activeElement } = document;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  activeElement?.focus();
  if (!done) throw new Error("the browser does not let pages copy");
}

function copyButton(text) {
  const button = make("button", "copy", "Copy");
  button.type = "button";
  button.onclick = async () => {
    button.textContent = await copy(text()).then(() => "Copied", () => "Not copied");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  return button;
}
