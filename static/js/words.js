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

/** Seconds as a clock that runs down: 4:05, or 1:04:05 from an hour on. */
export function duration(seconds) {
  const whole = Math.ceil(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : String(part))).join(":");
}

/** A moment of the server's in the visitor's own clock. */
export const clockTime = (moment) => new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(new Date(moment));

/** Rewrites the server's UTC moments below this element in the visitor's own clock. */
export function localClocks(root = document) {
  for (const time of root.querySelectorAll("time[data-clock]")) {
    if (!Number.isNaN(Date.parse(time.dateTime))) time.textContent = clockTime(time.dateTime);
  }
}

/** Tells screen readers, politely, without moving the focus. */
export function announce(sentence) {
  document.getElementById("announcer").textContent = sentence;
}
