// The state of pictures in the browser's tab: a ring that fills while they are painted. task.js and tray.js call it.

const ROUND = 2 * Math.PI * 11;

const icon = document.querySelector('link[rel="icon"]');
const asItCame = icon.href;

/** Draws `share` (0 to 1) as a ring in the page's icon. */
export function showProgressInTab(share) {
  const done = (Math.max(0.03, share) * ROUND).toFixed(1);
  const ring = 'cx="16" cy="16" r="11" fill="none" stroke-width="5"';
  const svg =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#7fb2d6"/>' +
    `<circle ${ring} stroke="#fbf9f3" opacity=".5"/>` +
    `<circle ${ring} stroke="#22302a" stroke-dasharray="${done} 99" stroke-linecap="round" transform="rotate(-90 16 16)"/></svg>`;
  icon.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** Says that all is done. */
export function showDoneInTab() {
  icon.href = asItCame.replace("favicon.svg", "favicon-done.svg");
}

/** Puts this icon in the tab, or the page's own again. */
export function resetTab(address = asItCame) {
  icon.href = address;
}
