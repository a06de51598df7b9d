// One order's page: follows the task while it waits, fetches the page again when its state changes, and carries out
// cancel, retry, another look and delete.

import { Poller, isFinished } from "./poll.js";
import { announce, localClocks, percent, say, stageWords, waitRange } from "./words.js";
import { Refusal, call } from "./api.js";
import { enlivenComparisons } from "./compare.js";
import { showProgressInTab } from "./favicon.js";
import { startWaitingMessages } from "./waiting.js";

const siteName = document.title.split(" · ").at(-1);
const article = () => document.getElementById("task");
const part = (name) => article().querySelector(`[data-${name}]`);
const taskId = article().dataset.taskId;

const PROMISE_KEPT_WITHIN = 3000; // Milliseconds after the promised moment.

let poller = null;
let promise = 0; // The timer for the moment at which an unfinished task comes back.
let stopMessages = () => {};
let shownProgress = 0; // The page never shows less than it has shown.
let shownStage = "";

function setWords(name, words) {
  const element = part(name);
  if (!element) return;
  element.textContent = words ?? "";
  element.hidden = !words;
}

function showNotice(words, resumable = false) {
  part("notice").hidden = !words;
  part("notice-words").textContent = words;
  article().querySelector('[data-action="resume"]').hidden = !resumable;
}

/** What has to be said about a task that is not on its first attempt any more. */
function attemptWords({ attempt, status }) {
  if (status === "PENDING") return attempt > 0 && say("queuedAgain");
  return attempt > 1 && say("nextAttempt");
}

/** Writes the news of a waiting task into the page. */
function showWaiting(task) {
  shownProgress = Math.max(shownProgress, task.progress ?? 0);
  const stage = task.stage ?? "queued";
  const words = stageWords(stage);
  part("stage").textContent = words;
  part("progress").textContent = percent(shownProgress / 100);
  document.getElementById("bar").value = shownProgress;
  document.getElementById("wash").style.setProperty("--wash", shownProgress / 100);
  setWords("attempt", attemptWords(task));
  const place = task.queuePosition;
  setWords("queue", place && (place <= 1 ? say("queueNext") : say("queuePlace", { place })));
  setWords("rank", task.engineRank && say("engineRank", { place: task.engineRank }));
  const range = task.etaRangeSeconds;
  setWords("wait", range ? say("wait", { range: waitRange(range[0], range[1]) }) : say("waitUnknown"));
  document.title = `${say("taskTitle", { percent: percent(shownProgress / 100), stage: words })} · ${siteName}`;
  showProgressInTab(shownProgress / 100);
  if (shownStage && shownStage !== stage) announce(words);
  shownStage = stage;
}

/** Puts the server's own page for the new state in place of this one. */
async function showNewState() {
  let page;
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    setTimeout(showNewState, 3000); // Offline at the last moment: the picture is there when the line is.
    return;
  }
  const fresh = page.getElementById("task");
  if (!fresh) {
    location.reload();
    return;
  }
  stopMessages();
  clearTimeout(promise);
  const hadFocus = article().contains(document.activeElement);
  fresh.classList.add("has-changed");
  article().replaceWith(document.adoptNode(fresh));
  document.title = page.title;
  document.querySelector('link[rel="icon"]').href = page.querySelector('link[rel="icon"]').href;
  const headline = document.getElementById("headline");
  const returned = article().querySelector(".returned");
  announce([headline, returned].filter(Boolean).map((element) => element.textContent.trim()).join(". "));
  if (hadFocus) headline.focus({ preventScroll: true });
  begin();
}

function follow(task) {
  shownProgress = 0;
  shownStage = "";
  showWaiting(task);
  stopMessages = startWaitingMessages(part("waiting-message"));
  poller = new Poller(taskId, {
    onTask(news) {
      showNotice("");
      if (isFinished(news)) showNewState();
      else showWaiting(news);
    },
    onGone: () => location.reload(),
    onOffline: () => showNotice(say("offline")),
    onOnline: () => showNotice(""),
    onPause() {
      showNotice(say("paused"), true);
      announce(say("paused"));
    },
  });
  poller.start(task.nextPollMs);
  keepThePromise(task);
}

/** However long nothing has changed: at the promised moment the page asks again, and shows what came back. */
function keepThePromise({ refundAt }) {
  if (!refundAt) return;
  const asked = () => {
    showNotice("");
    poller.start();
  };
  promise = setTimeout(asked, Math.max(0, new Date(refundAt) - Date.now()) + PROMISE_KEPT_WITHIN);
}

/** What the buttons do. */
const actions = {
  async cancel() {
    await call("POST", `/api/tasks/${encodeURIComponent(taskId)}/cancel`);
    poller?.stop();
    await showNewState();
  },
  async retry(body = {}) {
    const next = await call("POST", `/api/tasks/${encodeURIComponent(taskId)}/retry`, body);
    location.assign(`/tasks/${encodeURIComponent(next.taskId)}`);
  },
  async wish() {
    await call("POST", `/api/tasks/${encodeURIComponent(taskId)}/retry`, { whenReady: true });
    await showNewState();
  },
  async delete() {
    await call("DELETE", `/api/tasks/${encodeURIComponent(taskId)}`);
    location.assign("/");
  },
  resume() {
    showNotice("");
    poller.start();
  },
};

async function act(name, button, body) {
  if (button.disabled) return;
  button.disabled = true;
  part("alert")?.setAttribute("hidden", "");
  try {
    await actions[name](body);
  } catch (problem) {
    if (!(problem instanceof Refusal)) throw problem;
    const alertBox = part("alert");
    alertBox.textContent = problem.message;
    alertBox.hidden = false;
  } finally {
    if (name !== "retry" || !part("alert")?.hidden) button.disabled = false;
  }
}

function begin() {
  localClocks(article());
  enlivenComparisons(article());
  const task = JSON.parse(article().querySelector("script[data-task]").textContent);
  if (!isFinished(task)) follow(task);
}

// Listening on the document, because the article is replaced when the state changes.
document.addEventListener("click", (event) => {
  const button = event.target.closest("#task button[data-action]");
  if (button) act(button.dataset.action, button);
});
document.addEventListener("submit", (event) => {
  const form = event.target.closest("#task form[data-action]");
  if (!form) return;
  event.preventDefault();
  const style = new FormData(form).get("style");
  act(form.dataset.action, form.querySelector("button[type=submit]"), style ? { style } : {});
});

begin();
