"""What tests ask of a page that is open in Chromium."""

import json
import re

import numpy as np

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def has_fetched(browser):
    """Addresses that pages asked for since the log was last read, without Chromium's own for its first, empty page."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
    return [address for address in asked if not address.startswith("chrome:")]


def is_as_wide_as(browser, width, height=800):
    """Whether nothing of the page reaches out of a window of that width; a scroll bar may take some of it."""
    with _emulated(browser, "DeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False):
        return width - 20 <= browser.execute_script("return document.documentElement.scrollWidth") <= width


def overflowing_when_printed(browser, width=680):
    """What reaches out of an A4 page, 180 mm between its margins: tag and text of each element."""
    with (
        _emulated(browser, "EmulatedMedia", media="print"),
        _emulated(browser, "DeviceMetricsOverride", width=width, height=980, deviceScaleFactor=1, mobile=False),
    ):
        return browser.execute_script(
            """return [...document.querySelectorAll("main *, header *")]
                 .filter((e) => e.checkVisibility() && !e.closest("svg"))
                 .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
                 .map((e) => [e.tagName, e.textContent.slice(0, 60)]);"""
        )


def contrast_below(browser, least_contrast, scheme, least):
    """(ink, ground, tag) of each element with text whose contrast is lower; of the page at least so many have text."""
    with _emulated(browser, "EmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]):
        colours = browser.execute_script(
            """const ground = (e) => { for (; e; e = e.parentElement) {
                 const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c; } };
               return [...document.querySelectorAll("body *")]
                 .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.checkVisibility())
                 .map((e) => [getComputedStyle(e)[e.closest("svg") ? "fill" : "color"], ground(e), e.tagName]);"""
        )
    assert len(colours) > least
    return {(ink, paper, tag) for ink, paper, tag in colours if contrast(ink, paper) < least_contrast}


def contrast(*colours):
    light = []
    for colour in colours:
        parts = np.array([int(x) for x in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(light) + 0.05) / (min(light) + 0.05)


class _emulated:
    """While inside, the browser is as the command of DevTools says."""

    def __init__(self, browser, what, **settings):
        self._browser, self._what, self._settings = browser, what, settings

    def __enter__(self):
        self._browser.execute_cdp_cmd(f"Emulation.set{self._what}", self._settings)

    def __exit__(self, *_):
        if self._what == "EmulatedMedia":
            self._browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
        else:
            self._browser.execute_cdp_cmd(f"Emulation.clear{self._what}", {})
