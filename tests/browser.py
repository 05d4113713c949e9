"""A real browser for tests: what it logs of a page, and how wide the page comes out."""

import html
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (path := shutil.which(name))
    ),
    None,
)

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here (Debian: apt-get install chromium)"
)

FRAME = """<!DOCTYPE html><html><body style="margin: 0">
<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const inside = document.querySelector("iframe").contentDocument;
  const images = [...inside.images];
  document.body.dataset.found = [
    inside.documentElement.scrollWidth,
    images.length,
    images.filter(image => image.complete && image.naturalWidth > 0).length,
    inside.defaultView.getComputedStyle(inside.body).backgroundColor,
  ].join("|");
}};
</script></body></html>"""
"""A page in a frame: it can be measured without a change to it, and be narrower than a window."""


def chromium(page, folder, *options):
    """Run Chromium on a file without a window; returns (stdout, what pages wrote to the console).

    Whatever a page asks the network for is refused a name, and so is logged.
    """
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    result = subprocess.run(
        [
            CHROMIUM, "--headless=new", *sandbox, "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--disable-background-networking", "--no-first-run", "--enable-logging=stderr",
            "--v=0", *options, Path(page).as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = re.findall(r":CONSOLE.*?\] (.*)", result.stderr)
    return result.stdout, console


def looked_at(page, folder, width, *options):
    """Return the width a page needs, images, images that are drawn, background, and the console."""
    frame = folder / "frame.html"
    text = Path(page).read_text(encoding="utf-8")
    frame.write_text(FRAME.format(width=width, page=html.escape(text)), encoding="utf-8")
    out, console = chromium(
        frame, folder, f"--window-size={max(width, 500)},900", "--dump-dom", *options
    )
    needed, images, drawn, background = re.search(r'data-found="(.*?)"', out)[1].split("|")
    return int(needed), int(images), int(drawn), background, console
