// One order's page: follows the task while it waits, fetches the page again when its state changes, and carries out
// cancel, retry, another look and delete.

import { Poller, isFinished } from "./poll.js";
import { announce, clockTime, localClocks, percent, say, stageWords, waitRange } from "./words.js";
import { Refusal, call } from "./api.js";
import { enlivenComparisons } from "./compare.js";
import { keepPromise } from "./promise.js";
import { offerToTell, tell } from "./notify.js";
import { offerWhatWorks } from "./share.js";
import { resetTab, showProgressInTab } from "./favicon.js";
import { startWaitingMessages } from "./waiting.js";

const siteName = document.title.split(" · ").at(-1);
const article = () => document.getElementById("task");
const part = (name) => article().querySelector(`[data-${name}]`);
const taskId = article().dataset.taskId;

const ASK_AGAIN_AFTER = 3000; // Milliseconds; for the page of the new state, when the line breaks at the last moment.
const PICTURE_WAITED_FOR = 4000; // Milliseconds; then the new state is shown even if its picture is still on its way.

let endings = []; // What has to stop when the waiting is over.
let changing = null; // The promise of the new state while it is fetched.
let current = null; // The task as it was last heard of.
let shownProgress = 0; // The page never shows less than it has shown.
let shownStage = "";

function setWords(name, words) {
  const element = part(name);
  if (!element) return;
  element.textContent = words ?? "";
  element.hidden = !words;
}

function showNotice(words, resumable = false) {
  const told = part("notice-words");
  if (!told) return;
  article().querySelector('[data-action="resume"]').hidden = !resumable;
  part("notice").hidden = !words;
  if (told.textContent === words) return;
  told.textContent = words;
  announce(words);
}

/** What has to be said about a task that is not on its first attempt any more. */
function attemptWords({ attempt, status }) {
  if (status === "PENDING") return attempt > 0 && say("queuedAgain");
  return attempt > 1 && say("nextAttempt");
}

/** Writes the news of a waiting task into the page. */
function showWaiting(task) {
  current = task;
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

/** After four minutes in which nothing moved: what is seen, that it is no fault, and that the promise stands. */
function showRest() {
  const seen = say("resting", { stage: stageWords(shownStage), percent: percent(shownProgress / 100) });
  const promised = current.refundAt && part("promise") && say("restingPromise", { time: clockTime(current.refundAt) });
  showNotice([seen, promised, say("restingEnd")].filter(Boolean).join("\n"), true);
}

function stopWaiting() {
  for (const end of endings) end();
  endings = [];
}

/** The server's own page for the new state; asked for again until it comes, at once when the line is back. */
async function freshPage() {
  for (;;) {
    try {
      const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
      if (answer.status < 500) return new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      showNotice(say("offline"));
    }
    await new Promise((goOn) => {
      const timer = setTimeout(goOn, ASK_AGAIN_AFTER * (1 + Math.random()));
      addEventListener("online", () => (clearTimeout(timer), goOn()), { once: true });
    });
  }
}

/** Waits a little for the picture, so that it dries in instead of coming in stripes. */
async function loaded(fresh) {
  const shown = fresh.querySelector(".compare__half--after img, .print img");
  if (!shown || document.visibilityState === "hidden") return;
  const picture = new Image();
  picture.src = shown.getAttribute("src");
  let timer = 0;
  const patience = new Promise((goOn) => {
    timer = setTimeout(goOn, PICTURE_WAITED_FOR);
  });
  await Promise.race([picture.decode().catch(() => {}), patience]);
  clearTimeout(timer);
}

/** Puts the server's own page for the new state in place of this one; asked for twice at once, it is done once. */
function showNewState() {
  return (changing ??= change().finally(() => {
    changing = null;
  }));
}

async function change() {
  stopWaiting();
  const page = await freshPage();
  const fresh = page.getElementById("task");
  if (!fresh) {
    location.reload();
    return;
  }
  const headline = fresh.querySelector("#headline").textContent.trim();
  const returned = fresh.querySelector(".returned")?.textContent.trim();
  document.title = page.title;
  resetTab(page.querySelector('link[rel="icon"]').href);
  tell(headline, { body: returned ?? siteName, path: location.pathname, icon: `/api/image/${taskId}/thumbnail` });
  document.getElementById("wash")?.style.setProperty("--wash", 1);
  await loaded(fresh);
  const hadFocus = article().contains(document.activeElement);
  fresh.classList.add("has-changed");
  article().replaceWith(document.adoptNode(fresh));
  announce([headline, returned].filter(Boolean).join(". "));
  if (hadFocus) document.getElementById("headline").focus({ preventScroll: true });
  begin();
}

function follow(task) {
  shownProgress = 0;
  shownStage = "";
  showWaiting(task);
  const poller = new Poller(taskId, {
    onTask(news) {
      if (isFinished(news)) showNewState();
      else showWaiting(news);
    },
    onGone: () => location.reload(),
    onAway: (isOffline) => showNotice(say(isOffline ? "offline" : "away")),
    onBack: () => showNotice(""),
    onRest: showRest,
  });
  actions.resume = () => poller.start();
  endings = [() => poller.stop(), startWaitingMessages(part("waiting-message"))];
  // However long nothing has changed: at the promised moment the page asks again, and shows what came back.
  if (task.refundAt) endings.push(keepPromise(part("promise-left"), new Date(task.refundAt), () => poller.start()));
  poller.start(task.nextPollMs);
}

/** What the buttons do. */
const actions = {
  async cancel() {
    await call("POST", `/api/tasks/${encodeURIComponent(taskId)}/cancel`);
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
    alertBox.scrollIntoView({ block: "nearest" }); // The box of looks may be far below it on a phone.
  } finally {
    if (name !== "retry" || !part("alert")?.hidden) button.disabled = false;
  }
}

function begin() {
  localClocks(article());
  enlivenComparisons(article());
  offerWhatWorks(article());
  offerToTell(article());
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
