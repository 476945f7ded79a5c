"""The pages as a reader meets them, in headless Chromium: on a phone and on a laptop, opened as files."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from minseg.equations import REGISTRY

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
PHONE, LAPTOP = (375, 812), (1280, 900)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
)

LOOK = """
const box = (element) => element.getBoundingClientRect();
const folded = (element) => element.parentElement.closest("details:not([open])");
return {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    outside: [...document.querySelectorAll("main *")].filter((element) =>
        !folded(element) && !element.closest(".formula, .inline, pre, svg, thead") && box(element).right > innerWidth + 1
    ).map((element) => element.outerHTML.slice(0, 80)),
    formulas: document.querySelectorAll("math").length,
    unseen: [...document.querySelectorAll("math")].filter((element) =>
        !folded(element) && !(box(element).width > 3 && box(element).height > 5)
    ).map((element) => element.getAttribute("alttext")),
    unfit: [...document.querySelectorAll(".formula")].filter((element) =>
        element.scrollHeight > element.clientHeight + 2
    ).map((element) => element.querySelector("math").getAttribute("alttext")),
};
"""
"""How a page looks at the present width: what sticks out sideways, which formulas have no size or are cut off below."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs Selenium: pip install 'minseg[browser]'")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def at(browser, site):
    """Opens a page of the site."""

    def go(name: str, size=LAPTOP):
        resize(browser, size)
        browser.get((site / name.partition("#")[0]).as_uri() + name[name.find("#") :] * ("#" in name))

    return go


def resize(browser, size) -> None:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def where(browser) -> str:
    """The file and anchor that the browser is at."""
    address = urlparse(browser.current_url)
    return unquote(address.path.rsplit("/", 1)[-1] + (f"#{address.fragment}" if address.fragment else ""))


def test_every_page_fits_both_widths_and_shows_its_formulas_without_errors(browser, at, site):
    seen = 0
    for path in sorted(site.glob("*.html")):
        at(path.name)
        for size in (LAPTOP, PHONE):
            resize(browser, size)
            look = browser.execute_script(LOOK)
            name = f"{path.name} at {size[0]} px"
            assert look["overflow"] <= 0, name
            assert not look["outside"], (name, look["outside"][:3])
            assert not look["unseen"], (name, look["unseen"])
            assert not look["unfit"], (name, look["unfit"])
            seen += look["formulas"]
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert all(name.startswith(("file:", "data:")) for name in loaded), path.name
        assert browser.get_log("browser") == [], path.name
    assert seen > 4 * len(REGISTRY)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper_in_both_schemes(browser, at, scheme):
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    at("errata.html")
    paper = luminance(browser, "body", "backgroundColor")
    assert (paper > 0.5) == (scheme == "light")
    for selector in ("body", ".hero > p", "main a", ".kind h3 a", ".says", ".right-says", ".err"):
        assert contrast(paper, luminance(browser, selector, "color")) >= 4.5, selector  # WCAG AA
    at("conv.corr2d.html")
    paper = luminance(browser, ".code", "backgroundColor")
    for colour in ("k", "s", "c", "m", "f", "d"):
        assert contrast(paper, luminance(browser, f".line .{colour}", "color")) >= 4.5, colour
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(browser, selector: str, style: str) -> float:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]].match(/[0-9.]+/g)"
    parts = [float(part) / 255 for part in browser.execute_script(script, selector, style)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_the_formula_stays_beside_the_code_on_a_laptop(browser, at):
    at("conv.corr2d.html#numba")
    card, code = (
        browser.execute_script("const b = document.querySelector(arguments[0]).getBoundingClientRect(); return b", part)
        for part in (".card", "#numba .code")
    )
    assert card["right"] <= code["left"]
    assert 0 <= card["top"] < card["bottom"] <= LAPTOP[1]
    assert 0 <= code["top"] < LAPTOP[1]


def test_the_search_finds_an_equation_by_keyboard_alone(browser, at):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    at("index.html", PHONE)
    ActionChains(browser).send_keys("/").send_keys("conv.corr2d").perform()
    first = browser.find_element(By.CSS_SELECTOR, "#found [aria-selected=true] b")
    assert first.is_displayed()
    assert first.text == "conv.corr2d"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert where(browser) == "conv.corr2d.html"


@pytest.mark.parametrize(
    ("typed", "page"),
    [
        ("D3 3.3.2", "documents.html#D3-3.3.2"),
        ("err-10", "errata.html#ERR-10"),
        ("ops.conv2d", "operations.html#ops.conv2d"),
        ("transposed dilation", "conv.transpose2d.html"),
    ],
)
def test_the_search_leads_to_sections_errata_operations_and_titles(browser, at, typed, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    at("index.html")
    box = browser.find_element(By.ID, "search")
    box.send_keys(typed)
    assert browser.find_element(By.CSS_SELECTOR, "#found [aria-selected=true]").is_displayed()
    box.send_keys(Keys.ENTER)
    assert where(browser) == page


def test_the_search_moves_by_arrows_closes_by_escape_and_says_when_nothing_is_found(browser, at):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    at("index.html")
    box, found = browser.find_element(By.ID, "search"), browser.find_element(By.ID, "found")
    box.send_keys("conv")
    chosen = [browser.find_element(By.CSS_SELECTOR, "#found [aria-selected=true]").text]
    for key in (Keys.ARROW_DOWN, Keys.ARROW_UP):
        box.send_keys(key)
        chosen.append(browser.find_element(By.CSS_SELECTOR, "#found [aria-selected=true]").text)
    assert chosen[0] == chosen[2] != chosen[1]
    box.send_keys(Keys.ESCAPE)
    assert not found.is_displayed()
    box.clear()
    box.send_keys("zzz no such thing")
    assert found.text == "Nothing found."


def test_a_link_to_a_section_brings_it_into_view(browser, at):
    at("documents.html#D3-3.3.2.1")
    top = browser.execute_script("return document.getElementById('D3-3.3.2.1').getBoundingClientRect().top")
    bar = browser.execute_script("return document.querySelector('.top').getBoundingClientRect().bottom")
    assert bar <= top + 1 < LAPTOP[1]


def test_code_as_it_is_read_equals_its_file(browser, at):
    """What the reader sees and copies, line numbers apart; test_pages.py compares every excerpt of every page."""
    at("conv.corr2d.html")
    excerpts = browser.execute_script(
        "return [...document.querySelectorAll('pre[data-file]')].filter((pre) => !pre.closest('details:not([open])'))"
        ".map((pre) => [pre.dataset.file, +pre.dataset.first, +pre.dataset.last, pre.innerText])"
    )
    assert len(excerpts) > 8
    for file, first, last, text in excerpts:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()[first - 1 : last]
        assert [line.rstrip() for line in text.rstrip("\n").split("\n")] == [line.rstrip() for line in lines], file
