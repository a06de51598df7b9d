// The only module that talks to the server. A refusal becomes a Refusal with the sentence that the server wrote.

import { say } from "./words.js";

const ANSWERED_WITHIN = 20000; // Milliseconds for the smallest of questions.

const csrfToken = document.querySelector('meta[name="csrf-token"]').content;

/** An answer that is not what was asked for: `status` is 0 when there was none, `fields` names what was refused. */
export class Refusal extends Error {
  constructor(status, title, detail, retryAfter = 0, fields = []) {
    super(detail);
    this.status = status;
    this.title = title;
    this.retryAfter = retryAfter;
    this.fields = fields;
  }
}

function refusalFrom(status, text, retryAfter) {
  try {
    const problem = JSON.parse(text);
    const errors = problem.errors ?? [];
    const sentences = errors.map((error) => error.message).filter((words) => words !== problem.detail);
    const detail = [problem.detail, ...sentences].filter(Boolean).join(" ");
    return new Refusal(status, problem.title ?? "", detail, retryAfter, errors.map((error) => error.field));
  } catch {
    return new Refusal(status, "", say("unreadableAnswer"), retryAfter);
  }
}

const seconds = (header) => Number.parseInt(header ?? "", 10) || 0;

/** Sends JSON or nothing; returns the parsed answer, or null when it has no body. */
export async function call(method, address, body) {
  let answer;
  try {
    answer = await fetch(address, {
      method,
      headers: { Accept: "application/json", "X-CSRFToken": csrfToken, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
    });
  } catch {
    throw new Refusal(0, "", say("actionFailed"));
  }
  const text = await answer.text();
  if (!answer.ok) throw refusalFrom(answer.status, text, seconds(answer.headers.get("Retry-After")));
  return text ? JSON.parse(text) : null;
}

/** Asks how a task is doing: `{task, etag}`, or `{task: null, etag}` when nothing has changed since `etag`. */
export async function pollTask(taskId, etag) {
  let answer, text;
  try {
    answer = await fetch(`/api/poll-task?taskId=${encodeURIComponent(taskId)}`, {
      cache: "no-store",
      headers: { Accept: "application/json", ...(etag && { "If-None-Match": etag }) },
      signal: AbortSignal.timeout?.(ANSWERED_WITHIN), // A line that is cut half-way would keep it waiting for ever.
    });
    text = await answer.text();
  } catch {
    throw new Refusal(0, "", say("offline"));
  }
  if (answer.status === 304) return { task: null, etag };
  if (!answer.ok) throw refusalFrom(answer.status, text, seconds(answer.headers.get("Retry-After")));
  try {
    return { task: JSON.parse(text), etag: answer.headers.get("ETag") };
  } catch {
    throw new Refusal(answer.status, "", say("unreadableAnswer"));
  }
}

/**
 * Sends one order, with or without a photograph. XMLHttpRequest, because fetch cannot tell how much of an upload has
 * left. `onProgress(sent, total)` is called in bytes; the answer is the new task.
 */
export function sendOrder({ fields, photo, key, onProgress }) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  if (photo) form.append("image", photo.blob, photo.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/generate-image");
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", csrfToken);
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded, event.total);
    });
    request.addEventListener("error", () => reject(new Refusal(0, "", say("noConnection"))));
    request.addEventListener("load", () => {
      const { status, responseText } = request;
      if (status !== 200 && status !== 202) {
        reject(refusalFrom(status, responseText, seconds(request.getResponseHeader("Retry-After"))));
        return;
      }
      try {
        resolve(JSON.parse(responseText));
      } catch {
        reject(new Refusal(status, "", say("unreadableAnswer")));
      }
    });
    request.send(form);
  });
}
