"""The report in a real browser without a network: it draws, sorts, chooses, and asks nobody for anything."""

import shutil

import pytest
import synthetic

from rota.report import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    runs = {"short run": synthetic.timeline(60), synthetic.EVIL: synthetic.timeline(30_000, 8)}
    return html.write(results, path, timelines=runs)


@pytest.fixture(scope="module", params=["light", "dark"])
def page(browser, report, request):
    context = browser.new_context(offline=True, color_scheme=request.param)
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector("#timeline .chart .main-svg")
    yield page
    assert complaints == []
    assert all(url.startswith(("file://", "data:", "blob:")) for url in asked)
    context.close()


def test_every_chart_is_drawn_with_ink_that_can_be_read(page):
    assert page.locator(".chart .main-svg").count() >= page.locator(".chart").count()
    empty = page.evaluate("[...document.querySelectorAll('.chart')].filter(c => !c.data || !c.data.length).length")
    assert empty == 0
    ink = page.evaluate("getComputedStyle(document.querySelector('#latency .chart .xtick text')).fill")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = {"rgb(28, 36, 48)": "rgb(255, 255, 255)", "rgb(230, 233, 238)": "rgb(20, 23, 28)"}
    assert light[ink] == paper


def column(page, index):
    return page.eval_on_selector_all(
        "#results tbody tr", f"rows => rows.map(row => parseFloat(row.cells[{index}].dataset.value))"
    )


def test_a_heading_sorts_up_then_down_with_mouse_or_keyboard(page):
    button = page.locator("#results th.number button").first
    button.click()
    assert column(page, 3) == sorted(column(page, 3))
    button.focus()
    page.keyboard.press("Enter")
    assert column(page, 3) == sorted(column(page, 3), reverse=True)
    assert page.locator("#results th[aria-sort=descending]").count() == 1


def test_the_run_is_chosen(page):
    run = page.locator("#timeline select")
    run.select_option("short run")
    before = page.evaluate("document.querySelector('#timeline .chart').layout.annotations")
    run.select_option(synthetic.EVIL)
    notes = page.evaluate("document.querySelector('#timeline .chart').layout.annotations.map(a => a.text)")
    assert not before
    assert notes[0].startswith("30,000 rows summed up")
    run.select_option(index=2)
    assert "busiest moment" in page.evaluate("document.querySelector('#timeline select').value")


def test_all_sections_follow_the_chosen_group(page):
    page.locator("#intervals select").select_option(index=1)
    chosen = page.eval_on_selector_all("select[data-figures=groups]", "all => all.map(one => one.selectedIndex)")
    assert chosen == [1, 1, 1]


def test_a_narrow_screen_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 390, "height": 800})
    width = None
    for _ in range(50):  # charts follow the window a moment later
        width = page.evaluate("document.documentElement.scrollWidth")
        if width <= 390:
            break
        page.wait_for_timeout(100)
    assert width <= 390
