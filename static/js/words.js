// What the page was given by the server: settings and translated sentences. Every module that speaks reads them here.

const read = (id) => JSON.parse(document.getElementById(id).textContent);

export const config = read("client-config");
const strings = read("client-strings");
const language = document.documentElement.lang || "en";

/** The sentence of this key with its {names} filled in. */
export function say(key, values = {}) {
  return strings[key].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The words for a stage of a task; an unknown stage reads like the queue. */
export const stageWords = (stage) => strings.stages[stage] ?? strings.stages.queued;

export const percent = (share) => new Intl.NumberFormat(language, { style: "percent" }).format(share);

export const megabytes = (bytes) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: 1, minimumFractionDigits: 1 }).format(bytes / 1e6);

/** A range of seconds in words, in minutes above a minute and a half. */
export function waitRange(low, high) {
  const inMinutes = high > 90;
  const format = new Intl.NumberFormat(language, {
    style: "unit",
    unit: inMinutes ? "minute" : "second",
    unitDisplay: "long",
  });
  const from = inMinutes ? Math.max(1, Math.floor(low / 60)) : Math.round(low);
  const to = inMinutes ? Math.ceil(high / 60) : Math.round(high);
  if (from === to) return format.format(to);
  return format.formatRange ? format.formatRange(from, to) : `${from}–${format.format(to)}`;
}

/** Rewrites the server's UTC moments below this element in the visitor's own clock. */
export function localClocks(root = document) {
  const format = new Intl.DateTimeFormat(language, { timeStyle: "short" });
  for (const time of root.querySelectorAll("time[data-clock]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) time.textContent = format.format(moment);
  }
}

/** Tells screen readers, politely, without moving the focus. */
export function announce(sentence) {
  document.getElementById("announcer").textContent = sentence;
}
