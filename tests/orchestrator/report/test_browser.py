"""Reports as a browser shows them: narrow, dark, printed, and with very many clients.

Needs Chromium, and ``pip install 'hybridsplit[browser]'`` for Playwright and axe-core; nothing is downloaded here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from hybridsplit.orchestrator.inference.comparing import compare_apps
from hybridsplit.orchestrator.inference.planning import plan_task
from hybridsplit.orchestrator.inference.replaying import replay_task
from hybridsplit.orchestrator.inference.report import render_inference_report
from hybridsplit.orchestrator.report import render_report
from hybridsplit.orchestrator.report.memory_by_cut import memory_page
from hybridsplit.orchestrator.studies.over_seeds.page import study_page
from hybridsplit.orchestrator.studies.what_if import Cell, Varied, WhatIf
from hybridsplit.orchestrator.studies.what_if_page import what_if_page
from hybridsplit.profiler.options import profile_scenario
from hybridsplit.scenarios.loader import load_scenario, load_task
from tests.orchestrator.report.conftest import make_report_data
from tests.orchestrator.test_seeds import seed_study

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install 'hybridsplit[browser]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Google Chrome on the PATH"),
]
STUDY = WhatIf(
    "smart-home", "optimal", "time-to-progress",
    (Varied("radio.uplink_hz", ("0.5x", "1x")), Varied("clients.pi4.count", ("2", "9"))),
    (
        Cell({"radio.uplink_hz": "0.5x", "clients.pi4.count": "2"}, 2.0, 3.0, 0.1, 0.8, 40.0, 900.0),
        Cell({"radio.uplink_hz": "0.5x", "clients.pi4.count": "9"}, 2.0, 3.0, 0.1, 0.8, 40.0, 900.0),
        Cell({"radio.uplink_hz": "1x", "clients.pi4.count": "2"}, 1.0, 2.0, 0.1, 0.8, 40.0, 900.0),
        Cell({"radio.uplink_hz": "1x", "clients.pi4.count": "9"}, infeasible="no option fits for 9 clients"),
    ),
)  # fmt: skip
SCROLLED = """async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 500) {
    scrollTo({top: y, behavior: 'instant'});
    await new Promise(done => setTimeout(done, 50));
  }
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        yield (found := started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]))
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of twelve clients, one of a thousand, and an inference task."""
    folder = tmp_path_factory.mktemp("pages")
    task = load_task("wearables")
    plan = plan_task(task, "first-fit")
    rows, _ = compare_apps(task, ["source-only"], lambda what, share: None)
    summary = replay_task(plan, 20).model_copy(update={"strategies": tuple(rows)})
    texts = {
        "run": render_report(make_report_data(12)),
        "many": render_report(make_report_data(1000)),
        "inference": render_inference_report(plan, summary),
        "what-if": what_if_page(STUDY),
        "memory": memory_page("quickstart", profile_scenario(load_scenario("quickstart"))),
        "seeds": study_page(seed_study(), "quickstart"),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


class Opened:
    """A page that was opened, with what it said on the console and asked of the network."""

    def __init__(self, browser: Any, path: Path, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        started_s = time.monotonic()
        self.page.goto(path.as_uri())
        self.seconds = time.monotonic() - started_s

    def asked_beyond_itself(self) -> list[str]:
        return [url for url in self.asked[1:] if not url.startswith(("blob:", "data:"))]

    def overflow_px(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("name", ["run", "many", "inference", "what-if", "seeds", "memory"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_every_figure_is_drawn_in_silence_and_nothing_overflows(browser, pages, name, width, scheme):
    opened = Opened(browser, pages[name], width, scheme)
    opened.page.evaluate(SCROLLED)
    figures = opened.page.locator(".figure")
    assert figures.count() >= 1
    for index in range(figures.count()):
        figures.nth(index).locator("svg.main-svg").first.wait_for(state="attached")
    assert opened.overflow_px() <= 0
    assert opened.said == []
    assert opened.asked_beyond_itself() == []
    opened.context.close()


@pytest.mark.parametrize("name", ["run", "inference", "what-if", "seeds", "memory"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "dark")])
def test_axe_finds_nothing(browser, pages, name, width, scheme):
    opened = Opened(browser, pages[name], width, scheme)
    opened.page.evaluate(SCROLLED)
    opened.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = opened.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
    opened.context.close()


def test_on_a_narrow_screen_every_cell_is_in_sight_with_its_heading(browser, pages):
    opened = Opened(browser, pages["run"], 390)
    cells = opened.page.locator("#plan tbody tr:first-child td")
    labels = [cells.nth(index).get_attribute("data-label") for index in range(cells.count())]
    assert {"Mode", "Peak of budget", "Why"} <= set(labels)
    for index in range(cells.count()):
        box = cells.nth(index).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    opened.context.close()


def test_columns_out_of_sight_are_hinted_at(browser, pages):
    opened = Opened(browser, pages["run"], 760)
    frame = opened.page.locator("#plan .frame")
    assert "has-more" in frame.get_attribute("class")
    frame.locator(".table").evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    opened.page.wait_for_function("!document.querySelector('#plan .frame').classList.contains('has-more')")
    opened.context.close()


def test_rows_are_found_chosen_and_sorted_from_the_keyboard(browser, pages):
    opened = Opened(browser, pages["many"])
    page = opened.page
    page.locator("#plan summary").click()
    rows = page.locator("#every-client tbody tr:visible")
    page.get_by_label("Search").fill("PI5 recompute")
    assert rows.count() == 250
    assert page.locator("#plan [aria-live]").inner_text() == "250 of 1,000 rows"
    page.get_by_label("Search").fill("")
    page.locator("#plan .find").get_by_label("Mode").select_option("fo")
    assert rows.count() == 250
    page.locator("#plan .find").get_by_label("Mode").select_option("")
    head = page.locator("#every-client th", has_text="Latency")
    values = "table => [...table.tBodies[0].rows].map(row => Number(row.cells[7].dataset.value))"
    for way in ("ascending", "descending"):
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == way
        found = page.locator("#every-client").evaluate(values)
        assert found == sorted(found, reverse=way == "descending")
    opened.context.close()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_is_saved_with_its_legend(browser, pages, kind, tmp_path):
    opened = Opened(browser, pages["run"], scheme="dark")
    with opened.page.expect_download() as saving:
        opened.page.locator(f"button[data-save=figure-phases][data-format={kind}]").click()
    assert saving.value.suggested_filename == f"smart-home-phases.{kind}"
    saving.value.save_as(tmp_path / "figure")
    content = (tmp_path / "figure").read_bytes()
    assert content.startswith(b"<svg" if kind == "svg" else b"\x89PNG")
    if kind == "svg":
        assert b"Client compute" in content
        assert b"rgb(31, 41, 51)" in content, "saved in the colours of a light page"
    assert opened.said == []
    opened.context.close()


def test_a_dark_page_is_dark_and_follows_the_setting(browser, pages):
    opened = Opened(browser, pages["run"], scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#figure-phases .xtick text')).fill"
    assert opened.page.evaluate(background) == "rgb(20, 25, 31)"
    opened.page.evaluate(SCROLLED)
    assert opened.page.evaluate(ink) == "rgb(230, 234, 239)"
    opened.page.emulate_media(color_scheme="light")
    opened.page.wait_for_function(f"{ink} === 'rgb(31, 41, 51)'")
    assert opened.page.evaluate(background) == "rgb(255, 255, 255)"
    opened.context.close()


@pytest.mark.parametrize("name", ["run", "inference"])
def test_a_printed_page_has_whole_figures_and_no_wide_table(browser, pages, name):
    """A4 between margins of 14 mm is 688 pixels wide: what is wider would shrink the whole page."""
    opened = Opened(browser, pages[name], width=688, scheme="dark")
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    opened.page.emulate_media(media="print", color_scheme="dark")
    assert opened.overflow_px() <= 0
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    widths = opened.page.evaluate("[...document.querySelectorAll('.figure .main-svg')].map(one => one.clientWidth)")
    assert widths
    assert max(widths) <= 688
    opened.context.close()


def test_ten_thousand_clients_open_within_three_seconds(browser, tmp_path):
    path = tmp_path / "many.html"
    path.write_text(render_report(make_report_data(10_000)), encoding="utf-8")
    opened = Opened(browser, path)
    assert opened.seconds < 3.0
    assert opened.said == []
    opened.context.close()
