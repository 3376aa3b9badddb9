"""A page in headless Chromium, examined by axe-core (``make test`` installs it where there is npm)."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest

AXE = Path(__file__).parents[1] / "node" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or not AXE.is_file(), reason="needs chromium, and axe-core in tests/node (`make test` installs it)"
)

#: The page is examined in a frame, as Chromium's own windows are 500 pixels wide at least.
_FRAME = """
<!doctype html>
<iframe src="{page}" style="border: 0; width: {width}px; height: 1000px"></iframe>
<script>
addEventListener("message", ({{data}}) => {{
  const said = document.createElement("pre");
  said.textContent = data;
  document.body.append(said);
}});
</script>
"""
_EXAMINATION = """
<script src="{axe}"></script>
<script>
const table = document.querySelector('[aria-label="How it ran"] table');
const seconds = () => [...table.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value));
const press = () => {{
  table.tHead.rows[0].cells[2].querySelector("button").click();
  return seconds();
}};
const order = [seconds(), press(), press()];
axe.run().then(({{violations, passes}}) => parent.postMessage(JSON.stringify({{
  width: {{window: innerWidth, page: document.documentElement.scrollWidth}},
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  violations: violations.map(({{id, nodes}}) => id + ": " + nodes.map(node => node.html).join(" ")),
  rules_passed: passes.length,
  order: order,
}}), "*"));
</script>
</body>"""


@dataclass(frozen=True)
class Examination:
    """What a page is in a window.

    Attributes:
        width: in pixels, of the ``window`` and of the ``page``, which is wider where it would scroll sideways.
        dark: whether the page was asked for its dark colours.
        violations: rule and elements of each of axe-core's findings.
        rules_passed: how many rules found elements and nothing wrong with them.
        order: the seconds of the last table's rows as they stand, after a press on their heading, and after another.
    """

    width: dict[str, int]
    dark: bool
    violations: list[str]
    rules_passed: int
    order: list[list[float]]


def examine(page: Path, folder: Path, width: int, dark: bool) -> Examination:
    """Open a copy of a page, made in a folder, in a frame of some width, and read what axe-core says of it."""
    copy, frame = folder / page.name, folder / "frame.html"
    script = _EXAMINATION.format(axe=AXE.as_uri())
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    frame.write_text(_FRAME.format(page=copy.name, width=width), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1500,1000", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command += ["--virtual-time-budget=60000", "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    said = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert said, f"axe-core did not come to an end: {done.stderr[-2_000:]}"
    return Examination(**json.loads(unescape(said[1])))
