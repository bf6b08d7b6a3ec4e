"""Headless Chromium for the tests of the page; a reason to skip where there is none."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def absent() -> str | None:
    """Why there is no browser to test in; None where there is one."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (pip install '.[dev]')"
    if shutil.which("chromium") is None:
        return "chromium is not installed (apt-get install chromium)"
    return None


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser of the system, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*_FLAGS]
        )
        yield browser
        browser.close()


@contextmanager
def watched_page(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """Open a page that must load nothing from elsewhere and raise no error.

    Args:
        browser: Of `chromium`.
        address: A ``file:`` URL.
        options: Of Playwright's ``new_context``, such as ``viewport``.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
    page.goto(address)
    yield page
    context.close()
    folder = address.rpartition("/")[0]
    assert [url for url in requests if not url.startswith((folder, "data:"))] == []
    assert errors == []
