// Applies the color scheme before the first paint, so that nothing flashes.
(() => {
  let scheme = null;
  try {
    scheme = JSON.parse(localStorage.getItem("hfmedia.scheme"));
  } catch {
    scheme = null; // storage is unavailable: the system decides
  }
  if (scheme === "light" || scheme === "dark") document.documentElement.dataset.scheme = scheme;
})();
