"""First load of the studio in a real browser: ``page_load.py LOADS`` prints the median milliseconds and kB as JSON.

Each load uses a new browser context with empty caches, timed from the start of the navigation until the page is loaded
and its form is ready. One more load counts the bytes of all responses, headers included, and of the requests that
follow immediately.
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

from .gateway import free_port, is_alive

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
BROWSER_ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
READY_SCRIPT = """
new MutationObserver((_, self) => {
  if (document.querySelector("#ratios input") === null) return;  // the form's script creates these when it is ready
  window.formReady = performance.now();
  self.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
TIMES_SCRIPT = """() => [performance.getEntriesByType("navigation")[0].loadEventEnd, window.formReady ?? 0]"""
SETTLE_MS = 300  # milliseconds in which follow-up requests count as well
TIMEOUT_MS = 15_000  # milliseconds


@contextmanager
def open_page(browser: Any) -> Iterator[Any]:
    """Open a page in a new browser context."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def load_ms(browser: Any, url: str) -> float:
    """Measure one first load, in milliseconds."""
    with open_page(browser) as page:
        page.add_init_script(READY_SCRIPT)
        page.goto(url, wait_until="load", timeout=TIMEOUT_MS)
        page.wait_for_timeout(SETTLE_MS)
        times = page.evaluate(TIMES_SCRIPT)
    assert min(times) > 0, f"the form did not become ready: {times}"
    return float(max(times))


def load_bytes(browser: Any, url: str) -> float:
    """Count the bytes of one first load; counting slows it down, so it is not timed."""
    with open_page(browser) as page:
        devtools, lengths = page.context.new_cdp_session(page), list[float]()
        devtools.on("Network.loadingFinished", lambda event: lengths.append(event["encodedDataLength"]))
        devtools.send("Network.enable")
        page.goto(url, wait_until="load", timeout=TIMEOUT_MS)
        page.wait_for_timeout(SETTLE_MS)
    return sum(lengths)


def main() -> None:
    """Print the median of the loads, after one warm-up load."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print(json.dumps({"error": "playwright is not installed"}))
        return
    if not Path(CHROMIUM).exists():
        print(json.dumps({"error": "Chromium is not installed"}))
        return
    port, devnull = free_port(), subprocess.DEVNULL
    url, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "hfmedia", "serve", "--sandbox", "--quiet"]
    with subprocess.Popen([*command, "--port", str(port)], stdout=devnull, stderr=devnull) as process:
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_ARGS)
                while not is_alive(f"{url}/healthz"):
                    assert process.poll() is None, f"the gateway exited with code {process.returncode}"
                    time.sleep(0.05)
                load_times = [load_ms(browser, f"{url}/") for _ in range(1 + int(sys.argv[1]))][1:]
                total_bytes = load_bytes(browser, f"{url}/")
                browser.close()
        finally:
            process.terminate()
    print(
        json.dumps(
            {"ms": statistics.median(load_times), "loads": [round(ms) for ms in load_times], "kb": total_bytes / 1000}
        )
    )


if __name__ == "__main__":
    main()
