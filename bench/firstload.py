"""The studio's first load in a real browser: ``firstload.py LOADS`` prints the median milliseconds and kB as JSON.

Each load is a new browser context, with nothing kept from before. It counts from the start of the navigation until the
page is loaded and its form answers. One more load counts every byte of every answer, headers and all, with what is
fetched right after.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .gateway import alive, free_port

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
WATCH = """
new MutationObserver((_, self) => {
  if (document.querySelector("#ratios input") === null) return;  // the form's script makes these when it is ready
  window.formReady = performance.now();
  self.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
TIMES = """() => [performance.getEntriesByType("navigation")[0].loadEventEnd, window.formReady ?? 0]"""
AFTERWARDS = 300  # milliseconds in which what the page fetches right after counts as well
MOST = 15_000  # milliseconds


@contextmanager
def opened(browser: Any) -> Iterator[Any]:
    """A page of a browser that has kept nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def load(browser: Any, url: str) -> float:
    """Milliseconds of one first load."""
    with opened(browser) as page:
        page.add_init_script(WATCH)
        page.goto(url, wait_until="load", timeout=MOST)
        page.wait_for_timeout(AFTERWARDS)
        times = page.evaluate(TIMES)
    assert min(times) > 0, f"the form was never ready: {times}"
    return float(max(times))


def size(browser: Any, url: str) -> float:
    """Bytes of one first load; counting them slows it, so that one is not timed."""
    with opened(browser) as page:
        wire, lengths = page.context.new_cdp_session(page), list[float]()
        wire.on("Network.loadingFinished", lambda told: lengths.append(told["encodedDataLength"]))
        wire.send("Network.enable")
        page.goto(url, wait_until="load", timeout=MOST)
        page.wait_for_timeout(AFTERWARDS)
    return sum(lengths)


def main() -> None:
    """The median of so many loads, after one that starts the browser's own parts."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print(json.dumps({"error": "no playwright here"}))
        return
    if not Path(CHROMIUM).exists():
        print(json.dumps({"error": "no Chromium here"}))
        return
    port, quiet = free_port(), subprocess.DEVNULL
    url, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "hfmedia", "serve", "--sandbox", "--quiet"]
    with subprocess.Popen([*command, "--port", str(port)], stdout=quiet, stderr=quiet) as process:
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
                while not alive(f"{url}/healthz"):
                    assert process.poll() is None, f"the gateway ended with {process.returncode}"
                    time.sleep(0.05)
                taken = [load(browser, f"{url}/") for _ in range(1 + int(sys.argv[1]))][1:]
                whole = size(browser, f"{url}/")
                browser.close()
        finally:
            process.terminate()
    print(json.dumps({"ms": statistics.median(taken), "loads": [round(ms) for ms in taken], "kb": whole / 1000}))


if __name__ == "__main__":
    main()
