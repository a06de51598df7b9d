// The service worker of the whole site. It opens the offline page when there is no connection, and takes what a phone's
// share sheet hands over. Pages and answers of the API always come from the network: nothing here can show an old state.

const VERSION = {{ version|tojson }}; // Changes with the offline page and with every static file.
const OFFLINE_PAGE = {{ page|tojson }};
const FILES = {{ files|tojson }};
const SHARE_TARGET = {{ share_target|tojson }};
const HOME_WITH_PHOTOS = {{ home|tojson }};
const SHELL = "shell-";
const SHARED = "shared";
const MOST_PHOTOS = 12;

const shell = () => caches.open(SHELL + VERSION);

async function prepare() {
  const cache = await shell();
  await cache.addAll([new Request(OFFLINE_PAGE, { cache: "reload" }), ...FILES]);
  await self.skipWaiting();
}

async function takeOver() {
  const old = (await caches.keys()).filter((name) => name.startsWith(SHELL) && name !== SHELL + VERSION);
  for (const name of old) await caches.delete(name);
  await self.registration.navigationPreload?.enable(); // Pages do not wait for this worker to start.
  await self.clients.claim();
}

async function fetchPage({ request, preloadResponse }) {
  try {
    return (await preloadResponse) ?? (await fetch(request));
  } catch {
    // The page is kept in the language of its day, whatever the browser asks for now.
    return (await (await shell()).match(OFFLINE_PAGE, { ignoreVary: true })) ?? Response.error();
  }
}

async function fetchFile(request) {
  return (await (await shell()).match(request, { ignoreVary: true })) ?? fetch(request);
}

/** Puts shared photographs where the first page finds them. Nothing is sent: that is for the visitor to do. */
async function receive(request) {
  try {
    const form = await request.formData();
    const photos = form.getAll("image").filter((photo) => photo instanceof File && photo.size);
    await caches.delete(SHARED);
    const shelf = await caches.open(SHARED);
    for (const [place, photo] of photos.slice(0, MOST_PHOTOS).entries()) {
      const headers = { "Content-Type": photo.type, "X-Name": encodeURIComponent(photo.name) };
      await shelf.put(`/${SHARED}/${place}`, new Response(photo, { headers }));
    }
  } catch (problem) {
    console.warn("A shared photograph could not be kept:", problem); // The first page says that none has come.
  }
  return Response.redirect(HOME_WITH_PHOTOS, 303);
}

/** A click on "your picture is ready" leads to its page: to the one that is open, or to a new one. */
async function openPicture({ notification }) {
  notification.close();
  const { href } = new URL(notification.data.url, self.location.origin);
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find(({ url }) => url.split(/[?#]/)[0] === href);
  await (page ? page.focus() : self.clients.openWindow(href));
}

self.addEventListener("notificationclick", (event) => event.waitUntil(openPicture(event)));
self.addEventListener("install", (event) => event.waitUntil(prepare()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));
self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (origin !== self.location.origin) return;
  if (method === "POST" && pathname === SHARE_TARGET) event.respondWith(receive(event.request));
  else if (method === "GET" && mode === "navigate") event.respondWith(fetchPage(event));
  else if (method === "GET" && FILES.includes(pathname)) event.respondWith(fetchFile(event.request));
});
