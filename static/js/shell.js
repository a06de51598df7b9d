// Has the service worker installed once the page stands, so that it takes nothing from the page. Every page loads it.

addEventListener("load", () => {
  // Browsers without workers, and sites without https, do without: everything else works.
  navigator.serviceWorker?.register("/service-worker.js").catch(() => {});
});
