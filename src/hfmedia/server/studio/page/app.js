// The entry point: the form first, then the gallery with its event stream, then everything else.

import { api } from "./api.js";
import { find, setText } from "./dom.js";
import { errorText } from "./error-messages.js";
import * as form from "./form.js";
import { toast } from "./notifications.js";

const DISCONNECT_GRACE_PERIOD = 1500; // milliseconds for which a lost connection is not shown
const STREAM_WAIT = 300; // milliseconds that the gallery waits for the event stream
let health = null;
const loaded = {}; // the modules that are loaded after the form: store, gallery, lightbox, usage

async function updateHealth() {
  health = (await api.health().catch(() => null)) ?? health;
  find("#sandbox-badge").hidden = !health?.sandbox;
}

function setOffline(text) {
  const banner = find("#offline");
  setText(banner, text);
  banner.hidden = text === "";
}

/** Loads the gallery and subscribes to the event stream. */
async function startGallery() {
  const [gallery, { subscribe }, { createActions }, store] = await Promise.all([
    import("./gallery.js"), import("./event-stream.js"), import("./job-actions.js"), import("./job-store.js"),
  ]);
  const actions = createActions({ open: (id) => loaded.lightbox?.open(id), remove: gallery.deleteJob });
  Object.assign(loaded, { gallery, store });
  gallery.init(actions, () => loaded.usage?.refresh());
  let graceTimer = 0;
  let turn = 0; // grows with each connect: a diagnosis of the disconnect before it is ignored
  let firstLoad = null;
  let connected = false;
  let resolveConnected = () => {};
  const firstConnect = new Promise((resolve) => { resolveConnected = resolve; });
  const resync = () => gallery.resync().catch((error) => toast(errorText(error), { error: true }));
  subscribe({
    onJob: (job) => store.upsert(job),
    onConnected: (reconnected) => {
      clearTimeout(graceTimer);
      turn += 1;
      setOffline("");
      gallery.onConnected();
      connected = true;
      resolveConnected();
      if (!health) updateHealth();
      if (reconnected) resync();
      else firstLoad?.then(resync); // what changed before the stream was connected
      if (!reconnected) return;
      form.clearConnectionError();
      updateHealth();
      loaded.usage?.refresh();
    },
    onDisconnected: (error) => {
      gallery.onDisconnected();
      clearTimeout(graceTimer);
      graceTimer = setTimeout(async (current) => {
        const text = await diagnose(error);
        if (current === turn) setOffline(text);
      }, DISCONNECT_GRACE_PERIOD, turn);
    },
    onPaused: gallery.onDisconnected,
  });
  await Promise.race([firstConnect, new Promise((resolve) => setTimeout(resolve, STREAM_WAIT))]); // once connected, the loaded list stays complete
  if (!connected) gallery.onDisconnected();
  firstLoad = gallery.load();
  return actions;
}

/** Why there are no events: the gateway is gone, or only its event stream is. */
async function diagnose(error) {
  const response = await api.health().catch(() => null);
  if (!response) return "The gateway is not responding. Running jobs continue there; reconnecting…";
  if (error?.status) return `No live updates: ${errorText(error)}`;
  return "Live updates are blocked, probably by a proxy. Checking every 15 seconds instead.";
}

async function startAll() {
  form.preload();
  const actions = await startGallery();
  const [lightbox, usage, settings] = await Promise.all([import("./lightbox.js"), import("./usage-dialog.js"), import("./settings.js")]);
  lightbox.init(actions);
  usage.init();
  settings.init(() => health);
  Object.assign(loaded, { lightbox, usage });
}

const start = () => startAll().catch(() => setOffline("Part of this page failed to load. Reload it: the form keeps its content."));

form.init({
  knownJobIds: () => loaded.store?.jobs.keys() ?? [],
  onSubmitted: (jobs) => {
    for (const job of jobs) loaded.store?.upsert(job); // otherwise the gallery is not loaded yet, and will list them
    loaded.gallery?.reveal(jobs.filter((job) => job.status !== "deleted"));
  },
});
updateHealth();
if (document.readyState === "complete") start();
else addEventListener("load", start, { once: true });
