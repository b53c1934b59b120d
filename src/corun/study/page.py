"""The rating page: one file, no request to anybody but the server it came from."""

from __future__ import annotations

POLICY = (
    "default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'self'; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: the browser itself refuses any request to anywhere else."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>Picture study</title>
<link rel="stylesheet" href="style.css"></head>
<body>
<main id="start">
  <h1>Picture study</h1>
  <p id="task"></p>
  <label for="code">Your code (any word; the same word later goes on where you stopped)</label>
  <input id="code" maxlength="80" autocomplete="off" autofocus>
  <button id="begin" type="button">Begin</button>
</main>
<main id="trial" hidden>
  <p><progress id="bar" value="0" max="1"></progress> <span id="count"></span></p>
  <p id="question" role="status" aria-live="polite"></p>
  <div id="pictures"></div>
  <div id="answers" role="group" aria-label="Your answer"></div>
  <p id="keys"></p>
  <p id="trouble" role="alert"></p>
</main>
<main id="end" hidden>
  <h1>Thank you</h1>
  <p>All your answers are stored. You can close this page.</p>
</main>
<script src="study.js"></script>
</body></html>
"""

STYLE = """
:root { color-scheme: dark; }
body { margin: 0; background: #777; color: #fff; font: 16px/1.4 system-ui, sans-serif; }
main { max-width: 110rem; margin: 0 auto; padding: 1rem; text-align: center; }
#pictures { display: flex; gap: 1rem; justify-content: center; flex-wrap: wrap; }
figure { margin: 0; flex: 0 1 auto; max-width: 100%; }
figure img { max-width: min(46rem, 95vw); max-height: 68vh; display: block; margin: auto; }
button, input { font: inherit; padding: .6rem 1rem; margin: .25rem; min-width: 3rem; }
button:focus-visible { outline: 3px solid #fff; }
#trouble { color: #ffd; font-weight: 600; }
label { display: block; }
progress { width: 20rem; max-width: 60vw; }
"""

SCRIPT = """
"use strict";
const byId = id => document.getElementById(id);
/* ms: the second click of a double click must not answer the next question */
const PAUSE = 400;
let current = null, busy = false, ready = false;

async function ask(path, body) {
  const request = body === undefined ? {} : {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const reply = await fetch(path, request);
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.error);
  return content;
}

function show(name) {
  for (const id of ["start", "trial", "end"]) byId(id).hidden = id !== name;
}

function picture(slot, label) {
  const figure = document.createElement("figure");
  const image = document.createElement("img");
  image.src = `picture/${current.trial}/${slot}`;
  image.alt = label;
  figure.append(image);
  const caption = document.createElement("figcaption");
  caption.textContent = label;
  figure.append(caption);
  return figure;
}

function answer(label, value) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.disabled = true;
  button.dataset.value = value;
  button.addEventListener("click", () => vote(value));
  return button;
}

function setReady(value) {
  ready = value;
  byId("answers").setAttribute("aria-busy", String(!value));
  for (const button of byId("answers").children) button.disabled = !value;
}

/* answers count only once every picture is there, and not in the first moment */
async function openAnswers(state) {
  try {
    await Promise.all([
      new Promise(done => setTimeout(done, PAUSE)),
      ...[...document.querySelectorAll("#pictures img")].map(image => image.decode())]);
    if (current === state) setReady(true);
  } catch (error) {
    if (current === state)
      byId("trouble").textContent = "A picture did not arrive: please reload this page.";
  }
}

function draw(state) {
  current = state;
  ready = false;
  byId("trouble").textContent = "";
  if (state.finished) { show("end"); return; }
  show("trial");
  byId("bar").value = state.done / state.total;
  byId("count").textContent = `${state.done} of ${state.total} answered`;
  const pictures = [];
  if (state.original) pictures.push(picture("original", "original"));
  if (state.mode === "score") {
    byId("question").textContent = "How good is this picture? 1 is bad, 10 is excellent.";
    pictures.push(picture("0", "to be rated"));
    byId("answers").replaceChildren(
      ...Array.from({length: 10}, (_, k) => answer(String(k + 1), k + 1)));
    byId("keys").textContent = "Keys: 1 to 9, and 0 for 10.";
  } else {
    byId("question").textContent = "Which picture is better?";
    pictures.push(picture("0", "left"), picture("1", "right"));
    byId("answers").replaceChildren(
      answer("left", 1), answer("no difference", 0.5), answer("right", 0));
    byId("keys").textContent = "Keys: arrow left, arrow right, arrow down for no difference.";
  }
  byId("pictures").replaceChildren(...pictures);
  byId("trial").dataset.trial = state.trial;
  setReady(false);
  openAnswers(state);
}

async function vote(value) {
  if (busy || !ready || current === null || current.finished) return;
  busy = true;
  try {
    draw(await ask("api/vote", {trial: current.trial, value}));
  } catch (error) {
    byId("trouble").textContent = `Not stored, please try again: ${error.message}`;
  } finally {
    busy = false;
  }
}

async function begin() {
  if (busy) return;
  busy = true;
  try {
    draw(await ask("api/start", {code: byId("code").value}));
  } catch (error) {
    byId("task").textContent = `Cannot begin: ${error.message}`;
  } finally {
    busy = false;
  }
}

addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!byId("start").hidden) {
    if (event.key === "Enter" && event.target.id === "code") begin();
    return;
  }
  if (current === null || current.finished) return;
  const values = current.mode === "score"
    ? Object.fromEntries(Array.from({length: 10}, (_, k) => [String(k), k === 0 ? 10 : k]))
    : {ArrowLeft: 1, ArrowRight: 0, ArrowDown: 0.5};
  if (event.key in values) { event.preventDefault(); vote(values[event.key]); }
});

byId("begin").addEventListener("click", begin);
ask("api/state").then(state => { if (state.known) draw(state); }, () => {});
"""
