// The colour scheme, set before anything is drawn, so that nothing flashes.
(() => {
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("hfmedia.scheme"));
  } catch {
    chosen = null; // nothing can be read here: the system decides
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.scheme = chosen;
})();
