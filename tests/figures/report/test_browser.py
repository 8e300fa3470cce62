"""The report in a real browser: headless Chromium, driven by playwright."""

import re
import shutil

import pytest

pytestmark = pytest.mark.slow
api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test-slow installs it")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def address(html, tmp_path_factory):
    file = tmp_path_factory.mktemp("site") / "index.html"
    file.write_text(html, "utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install the package chromium")
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """A function that opens the report at a fragment; at the end, no page may have reported an error."""
    said, contexts = [], []

    def visit(fragment="", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: request.url.startswith("http") and said.append(request.url))
        page.goto(address + fragment)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []


def _fragment(page):
    return page.evaluate("location.hash")


def _text(page):
    return page.text_content("#explorer-text")


def _place(opened, a0, w0):
    """The middle of a start's cell on the screen: where a page that was opened at that start marks it."""
    page = opened(f"#start={a0},{w0}")
    page.locator("#explorer-map").scroll_into_view_if_needed()
    marked = page.locator("#explorer-map > rect").last.bounding_box()
    return marked["x"] + marked["width"] / 2, marked["y"] + marked["height"] / 2


def test_a_click_pins_a_start_and_writes_it_into_the_address(opened):
    start, other = _place(opened, -1, 1), _place(opened, 2, -2)
    page = opened()
    assert _fragment(page) == ""
    page.locator("#explorer-map").scroll_into_view_if_needed()
    page.mouse.move(*start)
    assert "a(0) = −1.00, w₁(0) = 1.00" in _text(page)
    page.mouse.click(*start)
    assert _fragment(page) == "#start=-1.000,1.000,plain"
    page.mouse.move(*other)  # a pinned start stays
    assert "a(0) = −1.00, w₁(0) = 1.00" in _text(page)
    page.mouse.click(*start)  # a second click lets it go
    assert _fragment(page) == ""
    page.mouse.move(*other)
    assert "a(0) = 2.00, w₁(0) = −2.00" in _text(page)


def test_the_address_selects_a_start_and_the_weights(opened):
    page = opened("#start=1,-2,sign-in")
    assert "a(0) = 1.00, w₁(0) = −2.00" in _text(page)
    assert page.is_checked("input[value='sign-in']")
    before = page.text_content("#explorer-table")
    page.check("input[value='plain']")
    assert _fragment(page) == "#start=1.000,-2.000,plain"
    assert "a(0) = 1.00, w₁(0) = −2.00" in _text(page)
    assert page.text_content("#explorer-table") != before
    page.evaluate("location.hash = '#start=0,1'")
    page.wait_for_function("document.getElementById('explorer-text').textContent.includes('a(0) = 0.00')")


def test_the_arrow_keys_move_the_start_and_stop_at_the_edge(opened):
    page = opened("#start=0,0")
    page.focus("#explorer-map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert _fragment(page) == "#start=1.000,-1.000,plain"
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    assert _fragment(page) == "#start=-2.000,2.000,plain"
    scrolled = page.evaluate("scrollY")
    page.keyboard.press("ArrowUp")
    assert _fragment(page) == "#start=-2.000,2.000,plain"
    assert page.evaluate("scrollY") == scrolled  # the page itself does not move


def test_the_first_key_reaches_the_skip_link_and_links_lead_to_their_targets(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#verdicts"
    broken = "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.querySelector(a.hash))"
    assert page.evaluate(f"{broken}.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(opened, width, scheme):
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = (
        "[...document.querySelectorAll('img, svg')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    )
    assert page.evaluate(f"{wide}.length") == 0
    styles = [f"getComputedStyle(document.body).{what}" for what in ("color", "backgroundColor")]
    ink, paper = (sum(map(int, re.findall(r"\d+", page.evaluate(style))[:3])) for style in styles)
    assert (ink < paper) == (scheme == "light")
