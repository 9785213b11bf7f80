"""Search by URL, through the route, with real web servers: what is fetched, what is not, and what a caller is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.data.errors import InputError
from lookalike.data.stores.local import LocalStore
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.settings import read_settings
from tests.serving.conftest import make_settings
from tests.support.client import Client
from tests.support.client import running as serving
from tests.support.fetches import forget
from tests.support.shop import Shop, picture, product_ids
from tests.support.sites import LOCAL, Names, Site, answer, certificates, raw, running

pytestmark = pytest.mark.slow

HOST = "pictures.test"
ALLOWED = f"{HOST},*.{HOST}"

Ask = Callable[..., httpx.Response]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    forget()
    names = Names()
    names.answers |= {HOST: [[LOCAL]], f"cdn.{HOST}": [[LOCAL]]}
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    forget()


@pytest.fixture
def site(names: Names) -> Iterator[Site]:
    with running(Site()) as site:
        site.pages["/shoe.png"] = [answer(picture(3))]
        yield site


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shop with a snapshot of twelve products, and of its servers' cache."""
    folder = tmp_path_factory.mktemp("stocked")
    Shop(LocalStore(folder / "store"), folder).publish(12)
    return folder


@pytest.fixture
def ask(stocked: Path, site: Site) -> Iterator[Ask]:
    """Search by URL on a server that may fetch from the site's names, and from this machine where `local`."""
    with ExitStack() as stack:
        clients: dict[str, Client] = {}

        def search(url: str, *, local: bool = True, urls: dict[str, Any] | None = None, **query: Any) -> httpx.Response:
            given = {"allowed_hosts": ALLOWED, "allowed_ports": f"80,443,{site.port}", **(urls or {})}
            if local:
                given["allowed_networks"] = "127.0.0.0/8"
            if str(given) not in clients:
                app = create_app(Runtime(make_settings(stocked, urls=given)))
                clients[str(given)] = stack.enter_context(serving(app))
                clients[str(given)].wait(lambda state: state["ready"])
            return clients[str(given)].search(url=url, **query)

        yield search


def check(reply: httpx.Response, code: str, *secrets: str) -> None:
    """It is this problem, and says nothing about addresses, settings or whatever else must not be told."""
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    assert (reply.json()["code"], reply.status_code) == (code, ERROR_CODES[code].status), reply.text
    for secret in (LOCAL, "127.", "169.254", "10.0", "LOOKALIKE_", "public", "private", "address", *secrets):
        assert secret not in reply.text


def test_a_picture_behind_a_url(ask: Ask, site: Site) -> None:
    found = ask(f"http://{HOST}:{site.port}/shoe.png", k=1)
    assert [hit["id"] for hit in found.json()["hits"]] == [product_ids(12)[3]]
    by_name_below = ask(f"http://cdn.{HOST}:{site.port}/shoe.png", k=1, crop=[0, 0, 1, 1])
    assert by_name_below.json()["hits"] == found.json()["hits"]


def test_urls_among_examples_and_in_batches(site: Site, shop: Shop, tmp_path: Path) -> None:
    shop.publish(12)
    url = f"http://{HOST}:{site.port}/shoe.png"
    urls = {"allowed_hosts": HOST, "allowed_ports": str(site.port), "allowed_networks": "127.0.0.0/8"}
    with serving(create_app(Runtime(make_settings(tmp_path, urls=urls)))) as client:
        client.wait(lambda state: state["ready"])
        found = client.search(positive=[{"url": url}, {"url": url}], k=1).json()["hits"]
        assert found[0]["id"] == product_ids(12)[3]
        batch = client.post("/v1/search/batch", json={"queries": [{"url": url, "k": 1}, {"url": "http://other.test/"}]})
        first, second = batch.json()["results"]
        assert first["hits"] == client.search(url=url, k=1).json()["hits"]
        assert second["problem"]["code"] == "url_not_allowed"
        metrics = client.get("/metrics").text
        assert 'lookalike_fetches_total{result="ok"} 4.0' in metrics
        assert 'lookalike_fetches_total{result="host_not_allowed"} 1.0' in metrics


def test_over_tls(names: Names, shop: Shop, tmp_path: Path) -> None:
    ca_file, context = certificates(tmp_path, HOST)
    shop.publish(12)
    with running(Site(context)) as site:
        site.pages["/shoe.png"] = [answer(picture(3))]
        urls = {"allowed_hosts": ALLOWED, "allowed_ports": str(site.port), "allowed_networks": "127.0.0.0/8"}
        with serving(create_app(Runtime(make_settings(tmp_path, urls={**urls, "ca_file": str(ca_file)})))) as client:
            client.wait(lambda state: state["ready"])
            assert client.search(url=f"https://{HOST}:{site.port}/shoe.png", k=1).status_code == 200
            check(client.search(url=f"https://cdn.{HOST}:{site.port}/shoe.png"), "url_unreachable")  # not its name


def test_off_by_default_nothing_is_even_looked_up(names: Names, site: Site, client: Client) -> None:
    check(client.search(url=f"http://{HOST}:{site.port}/shoe.png"), "urls_off")
    assert site.connections == 0
    assert names.asked == []


def test_what_a_reindex_may_fetch_opens_nothing_for_queries(
    names: Names, site: Site, shop: Shop, tmp_path: Path
) -> None:
    shop.publish(8)
    with serving(create_app(Runtime(make_settings(tmp_path, fetch={"allowed_hosts": ALLOWED})))) as client:
        client.wait(lambda state: state["ready"])
        check(client.search(url=f"http://{HOST}:{site.port}/shoe.png"), "urls_off")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://0.0.0.0/", "http://169.254.169.254/latest/",
        "http://10.0.0.1/", "http://192.168.1.1/", "http://172.16.0.1/", "http://100.64.0.1/",
        "http://metadata.google.internal/", "http://[fd00:ec2::254]/", "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/",
        "http://[::]/", "https://example.com/", f"http://{HOST}.evil.test/", f"http://evil{HOST}/", f"http://{HOST}:22/",
    ],
)  # fmt: skip
def test_hosts_that_are_not_allowed(ask: Ask, site: Site, names: Names, url: str) -> None:
    names.asked.clear()
    check(ask(url), "url_not_allowed")
    assert site.connections == 0
    assert HOST not in names.asked  # the port is refused before anybody is asked


@pytest.mark.parametrize(
    "url",
    [
        "", "shoe.png", "//pictures.test/a", "file:///etc/passwd", "ftp://pictures.test/a", "gopher://pictures.test/",
        "javascript:alert(1)", "data:image/png;base64,AAAA", "s3://bucket/key", "http://", "http:///a",
        "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://0x7f.1/",
        "http://127.0.0.1.:99999/", "http://user:secret@pictures.test/", "http://pictures.test@127.0.0.1/",
        "http://127.0.0.1\\@pictures.test/", "http://pictures.test\\.evil.test/", "http://pictures.test%2eevil.test/",
        "http://pictures.test\r\nHost: evil/", " http://pictures.test/", "http://pictures.test/\x00",
        "http://[::ffff:127.0.0.1%25eth0]/", "http://[::1/", "http://\uff11\uff12\uff17.0.0.1/",
        "http://pictures\u3002test/", "http://pictures.test:0/", "http://pictures.test:/", "http://" + "a" * 9000,
    ],
)  # fmt: skip
def test_urls_in_odd_spellings(ask: Ask, site: Site, url: str) -> None:
    reply = ask(url)
    assert reply.json()["code"] in {"url_malformed", "url_not_allowed"}
    check(reply, reply.json()["code"], "secret", "passwd")
    assert site.connections == 0


@pytest.mark.parametrize(
    "found",
    [
        [LOCAL], ["10.0.0.7"], ["169.254.169.254"], ["192.168.0.1"], ["100.64.1.1"], ["0.0.0.0"], ["224.0.0.1"],
        ["::1"], ["fd00::1"], ["fe80::1"], ["::ffff:10.0.0.1"], ["64:ff9b::a00:1"], ["2002:a00:1::"], ["2001:db8::1"],
        ["93.184.215.14", "10.0.0.7"], ["10.0.0.7", "93.184.215.14"], ["168.63.129.16"],
    ],
)  # fmt: skip
def test_allowed_names_that_lead_inside(ask: Ask, site: Site, names: Names, found: list[str]) -> None:
    """Told in the very words of a host that is not allowed: nobody learns what a name leads to."""
    names.answers[HOST] = [list(found)]
    refused = ask(f"http://{HOST}:{site.port}/shoe.png", local=False)
    check(refused, "url_not_allowed", *found)
    assert refused.json()["detail"] == ask("http://other.test/", local=False).json()["detail"]
    assert site.connections == 0


def test_a_name_that_changes_its_mind(ask: Ask, site: Site, names: Names) -> None:
    """Rebinding: a public address for the check, this machine for the connection; what was checked is connected to."""
    names.answers[HOST] = [["93.184.215.14"], [LOCAL]]
    urls = {"connect_seconds": 0.3}
    check(ask(f"http://{HOST}:{site.port}/shoe.png", local=False, urls=urls), "url_unreachable")
    assert site.connections == 0
    forget()
    check(ask(f"http://{HOST}:{site.port}/shoe.png", local=False, urls=urls), "url_not_allowed")
    assert site.connections == 0


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "url_not_allowed"),
        ("http://127.0.0.1:{port}/shoe.png", "url_not_allowed"),
        ("http://inside.pictures.test:{port}/shoe.png", "url_not_allowed"),
        ("http://localhost:{port}/shoe.png", "url_not_allowed"),
        ("//[::1]:{port}/shoe.png", "url_not_allowed"),
        ("http://2130706433:{port}/shoe.png", "url_malformed"),
        ("http://0x7f.1:{port}/shoe.png", "url_malformed"),
        ("file:///etc/passwd", "url_malformed"),
        ("gopher://pictures.test:{port}/", "url_malformed"),
        ("http://user@pictures.test:{port}/shoe.png", "url_malformed"),
        ("/round", "url_unreachable"),
        ("/shoe.png", None),
    ],
)
def test_redirects_are_checked_as_the_first_url(
    ask: Ask, site: Site, names: Names, location: str, code: str | None
) -> None:
    names.answers[f"inside.{HOST}"] = [["10.0.0.7"]]
    site.pages["/round"] = [answer(b"", 302, Location=location.format(port=site.port))]
    reply = ask(f"http://{HOST}:{site.port}/round")
    if code is None:
        assert reply.status_code == 200
        return
    check(reply, code, "passwd")
    assert {path for _, path, _ in site.requests} == {"/round"}


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (answer(b"no", 404), "url_missing"),
        (answer(b"no", 410), "url_missing"),
        (answer(b"no", 403), "url_missing"),
        (answer(b"no", 418), "url_unreachable"),
        (answer(b"no", 503), "url_unreachable"),
        (answer(b"a page"), "image_not_an_image"),
        (answer(b""), "image_empty"),
        (answer(b"x" * 70_000), "image_too_many_bytes"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), "image_too_many_bytes"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), "url_unreachable"),
        (raw(b"nonsense"), "url_unreachable"),
        (answer(picture(3), Content_Encoding="gzip"), "url_unreachable"),
    ],
)
def test_servers_that_give_no_picture(ask: Ask, site: Site, page: Any, code: str) -> None:
    site.pages["/a"] = [page]
    check(ask(f"http://{HOST}:{site.port}/a", urls={"max_bytes": 65_536}), code)


def test_a_server_that_stalls_costs_no_more_than_its_time(ask: Ask, site: Site) -> None:
    site.pages["/slow"] = [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", pause=0.05, times=400)]
    start = time.monotonic()
    check(ask(f"http://{HOST}:{site.port}/slow", urls={"total_seconds": 0.4}), "url_unreachable")
    assert time.monotonic() - start < 15  # of 20 seconds


def test_reasons_are_for_the_log(ask: Ask, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        check(ask("http://169.254.169.254/latest/"), "url_not_allowed")
    assert "169.254.169.254" in caplog.text


@pytest.mark.parametrize(
    ("urls", "says"),
    [
        ({"ALLOWED_HOSTS": "https://shop.example/"}, "urls: allowed_hosts"),
        ({"ALLOWED_HOSTS": "*"}, "urls: allowed_hosts"),
        ({"ALLOWED_NETWORKS": "10.0.0.1/8"}, "urls: allowed_networks"),
        ({"ALLOWED_PORTS": "https"}, "urls: allowed_ports"),
        ({"ALLOWED_PORTS": "70000"}, "urls: allowed_ports"),
        ({"CA_FILE": "/none/such.pem"}, "no file of CA certificates"),
    ],
)
def test_settings_that_make_no_sense_end_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, urls: dict[str, str], says: str
) -> None:
    for name, value in urls.items():
        monkeypatch.setenv(f"LOOKALIKE_URLS__{name}", value)
    with pytest.raises(InputError, match=says):
        read_settings(_env_file=None)


ADDRESSES = (
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.0.1",
    "100.64.0.1", "192.0.0.8", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "169.254.0.1", "169.254.169.254", "169.254.170.2",
    "100.100.100.200", "168.63.129.16",
    "::", "::1", "::7f00:1", "::127.0.0.1", "::a9fe:a9fe", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:7f00:1::", "2001:db8::1", "2001:10::1", "100::1", "3fff::1",
    "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::5efe:7f00:1", "fec0::1", "ff02::1", "5f00::1",
)  # fmt: skip
"""What no public name may lead to: this machine, its neighbours, clouds' metadata, and other ways to write them."""

SPELLINGS = (
    "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "017700000001", "0177.0.0.1", "0177.1", "127.1", "127.0.1",
    "127.0.0.1.", "127.0.0.01", "0127.0.0.1", "00000177.0.0.1", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376", "169.254.43518", "169.16689662", "169.254.169.254.", "425.510.425.510",
    "1.0.0.127.in-addr.arpa",
    "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost",
    "metadata", "metadata.google.internal",
    "metadata.google.internal.", "instance-data", "instance-data.ec2.internal", "kubernetes.default.svc",
    "127.0.0.1.nip.io", "169.254.169.254.sslip.io", "localtest.me",
    "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127\u30020\u30020\u30021", "\u217cocalhost",
    "loc\u00adalhost", "localho\u017ft", "127.0.0.1%00", "127.0.0.1%2f.pictures.test", "%31%32%37.0.0.1",
    "pictures.test%00.evil.test", "pictures.test%2eevil.test", "pictures.test\\.evil.test", "pictures.test..evil.test",
    "user@127.0.0.1", "pictures.test@127.0.0.1", "pictures.test:80@127.0.0.1", "127.0.0.1@pictures.test",
    "pictures.test:80:80",
    "[::1%25lo]", "[fe80::1%25eth0]", "[::ffff:127.0.0.1%25eth0]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0x7f.0.0.1]",
    "[::1].pictures.test", "[::1", "::1", "[v1.::1]",
)  # fmt: skip
"""Hosts that some parser somewhere takes for such an address, or for a host that is allowed."""

PORTS = (0, 1, 22, 25, 2375, 3306, 5432, 6379, 8000, 9200, 10250, 11211, 65535, 65536, 99999)


def attempts() -> list[str]:
    """Return every host and port that must not be asked, as the part of a URL between `//` and the path."""
    written = [f"[{address}]" if ":" in address else address for address in ADDRESSES]
    return [*written, *SPELLINGS, *(f"{HOST}:{port}" for port in PORTS)]


def test_no_attempt_at_forgery_reaches_anything(ask: Ask, site: Site, names: Names) -> None:
    """Named in the query, and as where an allowed server sends us: the same answers, and nobody is asked."""
    for host in attempts():
        where = f"{host}/" if ":" in host.rpartition("]")[2] else f"{host}:{site.port}/"
        for scheme in ("http", "https"):
            reply = ask(f"{scheme}://{where}shoe.png")
            assert reply.json()["code"] in {"url_not_allowed", "url_malformed"}, (host, reply.text)
    asked = {path for _, path, _ in site.requests}
    assert "/shoe.png" not in asked
    for number, host in enumerate(attempts()):
        site.pages[f"/round-{number}"] = [answer(b"", 302, Location=f"http://{ascii_of(host)}/shoe.png")]
        reply = ask(f"http://{HOST}:{site.port}/round-{number}")
        assert reply.json()["code"] in {"url_not_allowed", "url_malformed", "url_unreachable"}, (host, reply.text)
    assert "/shoe.png" not in {path for _, path, _ in site.requests}


def ascii_of(host: str) -> str:
    """Return a host as a header can carry it."""
    return host.encode().decode("latin-1")


def test_names_that_lead_to_what_is_not_public(ask: Ask, site: Site, names: Names) -> None:
    for address in ADDRESSES:
        for found in ([address], ["93.184.215.14", address]):
            forget()
            names.answers[HOST] = [found]
            check(ask(f"http://{HOST}:{site.port}/shoe.png", local=False), "url_not_allowed", address)
    assert site.connections == 0
