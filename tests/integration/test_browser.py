"""A real browser that has pages of others open: what they make it send does nothing, and nothing of
the gateway is read.

The browser's own rules for pages that ask this machine are off: they differ from one to the next.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from support.front import Front
from support.gateway import Gateway, files_below
from support.http_server import LoopbackServer
from support.processes import plain_environment
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

SECRET = "kept/secret"
NAME = "slipway.example.com"
SECONDS = 20

NO_RULES_OF_ITS_OWN = (
    "PrivateNetworkAccessSendPreflights",
    "PrivateNetworkAccessRespectPreflightResults",
    "BlockInsecurePrivateNetworkRequests",
    "LocalNetworkAccessChecks",
)
# To whatever name, this machine answers.
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * 127.0.0.1",
    "--disable-features=" + ",".join(NO_RULES_OF_ITS_OWN),
)

PAGE = b"""<!doctype html><title>page</title><iframe name=frame></iframe><script>
const text = (url, more) => fetch(url, more)
  .then(async got => await got.text() || got.type);
const form = (base, path, type) => new Promise(done => {
  const form = document.createElement("form"), field = document.createElement("textarea");
  Object.assign(form, {method: "post", enctype: type, action: base + path, target: "frame"});
  Object.assign(field, {name: "{\\"image\\":\\"", value: "kept/secret:1\\"}"});
  document.querySelector("iframe").onload = () => done("sent");
  form.append(field); document.body.append(form); form.submit();
});
const element = (name, source) => new Promise(done => {
  const made = document.createElement(name);
  made.onload = () => done("loaded" + (made.naturalWidth || made.contentDocument || ""));
  made.onerror = () => done("failed");
  made.src = source; document.body.append(made);
});
const socket = url => new Promise(done => {
  const made = new WebSocket(url);
  made.onopen = () => done("open"); made.onerror = () => done("failed");
});
</script>"""


class Pages(BaseHTTPRequestHandler):
    """Anybody's web server: the same page under each name and path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@dataclass(frozen=True)
class Attempt:
    """What a page does, and what the gateway answers to the request that comes of it."""

    script: str
    method: str
    path: str  # as the log tells it
    status: int
    seen: str  # by the page


FAILED = "TypeError: Failed to fetch"
BLOB = "body: new Blob([archive])"
CATALOG = ("GET", "/v2/_catalog", 200)
ATTEMPTS = {
    "form-text": Attempt(
        "form(base, '/v1/pushes', 'text/plain')", "POST", "/v1/pushes", 403, "sent"
    ),
    "form-multipart": Attempt(
        "form(base, images, 'multipart/form-data')", "POST", "/v1/images", 403, "sent"
    ),
    "form-urlencoded": Attempt(
        "form(base, '/v1/layers', 'application/x-www-form-urlencoded')",
        "POST", "/v1/layers", 403, "sent",
    ),
    "fetch-blind": Attempt(
        f"text(base + images, {{method: 'POST', mode: 'no-cors', {BLOB}}})",
        "POST", "/v1/images", 403, "opaque",
    ),
    "fetch-cors": Attempt(
        f"text(base + images, {{method: 'POST', {BLOB}}})", "POST", "/v1/images", 403, FAILED
    ),
    "fetch-upload": Attempt(
        "text(base + '/v2/evil/app/blobs/uploads/', {method: 'POST', mode: 'no-cors'})",
        "POST", "/v2/{name}/blobs/uploads/", 403, "opaque",
    ),
    # The browser asks before it sends these, and is not told that it may.
    "fetch-json": Attempt(
        "text(base + '/v1/pushes', {method: 'POST', body: order,"
        " headers: {'Content-Type': 'application/json'}})",
        "OPTIONS", "/v1/pushes", 405, FAILED,
    ),
    "fetch-delete": Attempt(
        f"text(base + '/v2/{SECRET}/manifests/1', {{method: 'DELETE'}})",
        "OPTIONS", "/v2/{name}/manifests/{reference}", 405, FAILED,
    ),
    "beacon": Attempt(
        "navigator.sendBeacon(base + images, new Blob([archive]))",
        "POST", "/v1/images", 403, "True",
    ),
    "read": Attempt("text(base + '/v2/_catalog')", *CATALOG, FAILED),
    "read-blind": Attempt("text(base + '/v2/_catalog', {mode: 'no-cors'})", *CATALOG, "opaque"),
    "image": Attempt("element('img', base + '/v2/_catalog')", *CATALOG, "failed"),
    "script": Attempt("element('script', base + '/v2/_catalog')", *CATALOG, "failed"),
    "frame": Attempt("element('iframe', base + '/v2/_catalog')", *CATALOG, "loaded"),
    "socket": Attempt("socket(base.replace('http', 'ws') + '/v2/')", "GET", "/v2/", 200, "failed"),
}


@pytest.fixture(scope="module")
def pages() -> Iterator[LoopbackServer]:
    with LoopbackServer(Pages) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    folder = tmp_path_factory.mktemp("browser")
    options = webdriver.ChromeOptions()
    for switch in (*SWITCHES, f"--user-data-dir={folder}/profile"):
        options.add_argument(switch)
    service = Service("/usr/bin/chromedriver", env=plain_environment(folder))
    running = webdriver.Chrome(options=options, service=service)
    running.set_script_timeout(SECONDS)
    yield running
    running.quit()


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, registry: Registry
) -> Iterator[Gateway]:
    config = {
        "hosts": [NAME],
        "log": {"format": "json", "level": "debug"},
        "mirrors": [{"match": "evil/**", "to": [f"{registry.host}/evil/**"]}],
    }
    with Gateway(tmp_path_factory.mktemp("watched"), config) as gateway:
        with Front(gateway.port) as front:
            front.tagged(SECRET, "1")
        yield gateway


def answers(gateway: Gateway) -> list[tuple[str, str, int]]:
    """Method, pattern of the path and status of each request that was answered."""
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    return [
        (line["method"], line["path"], line["status"]) for line in lines if "status" in line
    ]


def run(browser: webdriver.Chrome, base: str, registry: Registry, script: str) -> str:
    """What a script of the page that is open comes to."""
    order = json.dumps({"image": f"{SECRET}:1", "to": [f"{registry.host}/evil/app:1"]})
    return str(browser.execute_async_script(
        "const [base, images, order, done] = arguments, archive = new Uint8Array(10240);"
        f"Promise.resolve({script}).then(done, error => done(`${{error}}`));",
        base, f"/v1/images?to={registry.host}/evil/app:1", order,
    ))


@pytest.fixture
def nothing_comes_of_it(watched: Gateway, registry: Registry) -> Iterator[None]:
    before = files_below(watched.data)
    yield
    assert watched.request("/v2/_catalog").json() == {"repositories": [SECRET]}
    assert files_below(watched.data) == before
    assert registry.access_log() == []


def expect(gateway: Gateway, before: int, answer: tuple[str, str, int]) -> None:
    wait_until(lambda: len(answers(gateway)) > before, f"{answer}")
    assert answers(gateway)[before] == answer


@pytest.mark.usefixtures("nothing_comes_of_it")
@pytest.mark.parametrize("host", ["pages.example", "localhost", "127.0.0.1", "127.0.0.2"])
def test_a_page_of_somebody_else(
    browser: webdriver.Chrome,
    pages: LoopbackServer,
    watched: Gateway,
    registry: Registry,
    host: str,
) -> None:
    browser.get(f"http://{host}:{pages.port}/")
    for name, attempt in ATTEMPTS.items():
        before = len(answers(watched))
        seen = run(browser, watched.url, registry, attempt.script)
        print(f"{host}, {name}: {seen}")
        assert seen == attempt.seen, (name, seen)
        expect(watched, before, (attempt.method, attempt.path, attempt.status))


@pytest.mark.usefixtures("nothing_comes_of_it")
def test_forms_of_a_page_with_the_gateways_name(
    browser: webdriver.Chrome, pages: LoopbackServer, watched: Gateway, registry: Registry
) -> None:
    """Another server of the same machine, whose origin passes: no form has a type that is taken."""
    browser.get(f"http://{NAME}:{pages.port}/")
    base = f"http://{NAME}:{watched.port}"
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
        before = len(answers(watched))
        assert run(browser, base, registry, f"form(base, '/v1/pushes', '{kind}')") == "sent"
        expect(watched, before, ("POST", "/v1/pushes", 415))


@pytest.mark.usefixtures("nothing_comes_of_it")
def test_a_name_that_comes_to_lead_here(
    browser: webdriver.Chrome, pages: LoopbackServer, watched: Gateway, registry: Registry
) -> None:
    """To the browser the gateway then is the page's own server, whose answers it may read."""
    with ThrottledProxy(pages.port) as line:
        base = f"http://rebound.example:{line.port}"
        browser.get(base + "/")
        line.lead_to(watched.port)

        def attempted() -> list[tuple[str, str, int]]:
            """The browser also looks for an icon of the page."""
            return [answer for answer in answers(watched) if answer[1] != "other"]

        for name, attempt in ATTEMPTS.items():
            before = len(attempted())
            seen = run(browser, base, registry, attempt.script)
            print(f"{name}: {seen}")
            assert SECRET not in seen
            wait_until(lambda: len(attempted()) > before, name)
            assert attempted()[before][1:] == (attempt.path, 403)
