// Tells the operator's log about errors that no other module has caught: what and where in our own scripts, and nothing
// about the visitor. Every page has it.

import { call } from "./api.js";

const MOST = 5; // A page that is broken says so a few times, not for ever.
let reported = 0;

function report(error) {
  if (reported >= MOST) return;
  reported += 1;
  const taskId = location.pathname.match(/^\/tasks\/([\w-]{1,64})$/)?.[1];
  const body = { error, timestamp: new Date().toISOString(), ...(taskId && { taskId }) };
  call("POST", "/api/monitor/error", body).catch(() => {}); // Nobody is left to tell.
}

const ours = (address) => Boolean(address?.startsWith(`${location.origin}/static/`));
const place = (address) => address.slice(location.origin.length);

addEventListener("error", ({ message, filename, lineno, colno }) => {
  // Extensions and pasted scripts fail on our pages too, and are not ours to mend.
  if (ours(filename)) report(`${message} (${place(filename)}:${lineno}:${colno})`);
});

addEventListener("unhandledrejection", ({ reason }) => {
  const where = reason?.stack?.match(/https?:\/\/[^\s()]+/g)?.find(ours);
  if (where) report(`Unhandled ${reason.name}: ${reason.message} (${place(where)})`);
});
