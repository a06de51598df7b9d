// Photographs that a phone's share sheet handed over: the service worker puts them on a shelf, home.js lays them on the
// easel. They stay there until they are sent, taken off the easel, or the first page is opened afresh, so that a phone
// may throw the page away and bring it back.

const SHARED = "shared";

/** True when this visit to the first page began in a share sheet. */
export const cameFromShareSheet = () => new URLSearchParams(location.search).has("shared");

/** The shared photographs as files; none in a visit that did not begin with them. */
export async function sharedPhotos() {
  try {
    if (!cameFromShareSheet()) {
      await caches.delete(SHARED);
      return [];
    }
    const shelf = await caches.open(SHARED);
    const answers = await Promise.all((await shelf.keys()).map((key) => shelf.match(key)));
    return await Promise.all(answers.map(fileOf));
  } catch {
    return []; // Without https, and where storing is forbidden, there is no shelf.
  }
}

async function fileOf(answer) {
  const photo = await answer.blob();
  return new File([photo], decodeURIComponent(answer.headers.get("X-Name")), { type: photo.type });
}

/** Forgets them: they are sent, or not wanted. */
export async function forgetShared() {
  if (!cameFromShareSheet()) return;
  history.replaceState(history.state, "", location.pathname);
  await caches.delete(SHARED);
}
