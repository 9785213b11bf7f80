"""Fetching from servers that lie, stall, bomb and point elsewhere, and from good ones."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lookalike.data.errors import FetchError
from lookalike.data.fetch import addresses, connections
from lookalike.data.fetch.client import fetch, remote_version
from lookalike.data.fetch.policy import FetchPolicy
from tests.support.fetches import HOST, forget, reason
from tests.support.sites import LOCAL, Names, Site, answer, certificates, raw, running

PUBLIC = "93.184.215.14"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b"\0" * 10_000_000)


@pytest.fixture
def site(names: Names) -> Iterator[Site]:
    with running(Site()) as site:
        yield site


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    return certificates(tmp_path_factory.mktemp("certificates"), HOST)


@pytest.fixture
def safe_site(names: Names, authority: tuple[Path, Any]) -> Iterator[Site]:
    with running(Site(authority[1])) as site:
        yield site


@pytest.fixture
def ca_file(authority: tuple[Path, Any]) -> str:
    return str(authority[0])


def length(size: int) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % size


def policy(*sites: Site, **changes: Any) -> FetchPolicy:
    allowed = FetchPolicy(
        allowed_hosts=(HOST, f"*.{HOST}", LOCAL),
        allowed_networks=("127.0.0.0/8",),
        allowed_ports=tuple(site.port for site in sites),
        total_seconds=10,
        retries=0,
    )
    return replace(allowed, **changes)


def at(site: Site, path: str = "/a.png", host: str = HOST, scheme: str = "http") -> str:
    return f"{scheme}://{host}:{site.port}{path}"


# What works


def test_a_picture(site: Site) -> None:
    site.pages["/a.png?size=%C3%BC&x=1"] = [answer(b"picture")]
    assert fetch(at(site, "/a.png?size=ü&x=1#part"), policy(site)) == b"picture"
    [(method, _, headers)] = site.requests
    assert (method, headers["Host"], headers["Accept-Encoding"]) == ("GET", f"{HOST}:{site.port}", "identity")


def test_paths_are_sent_as_they_must_be(site: Site) -> None:
    for path in ("/ü ö.png", "//evil.test/a.png", "/100%.png", "/a/../b.png", "/%0d%0aHost:%20evil.test"):
        assert reason(at(site, path), policy(site)) == "missing"
    sent = [path for _, path, _ in site.requests]
    encoded = ["/%C3%BC%20%C3%B6.png", "//evil.test/a.png", "/100%25.png", "/a/../b.png", "/%0D%0AHost:%20evil.test"]
    assert sent == [encoded[0], "/evil.test/a.png", *encoded[2:]]  # http.server itself takes // together


def test_a_picture_over_tls(safe_site: Site, ca_file: str) -> None:
    safe_site.pages["/a.png"] = [answer(b"picture")]
    allowed = policy(safe_site, ca_file=ca_file)
    assert fetch(at(safe_site, scheme="https"), allowed) == b"picture"
    assert fetch(at(safe_site, scheme="https", host=LOCAL), allowed) == b"picture"
    assert safe_site.names == [HOST, None]  # an address is no name to ask for


def test_certificates_are_checked(safe_site: Site, ca_file: str, names: Names) -> None:
    """Neither one for another name, nor one of an unknown authority; and trying again would not help."""
    wrong_name = at(safe_site, host=f"other.{HOST}", scheme="https")
    assert reason(wrong_name, policy(safe_site, ca_file=ca_file, retries=3)) == "unreachable"
    assert reason(at(safe_site, scheme="https"), policy(safe_site, retries=3)) == "unreachable"
    assert safe_site.requests == []
    assert names.asked.count(LOCAL) == 2


def test_connections_are_kept(site: Site, safe_site: Site, ca_file: str) -> None:
    for here in (site, safe_site):
        here.pages["/a.png"] = [answer(b"picture")]
        here.pages["/chunked"] = [raw(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", hang_up=False)]
        here.pages["/moved"] = [answer(b"look there", 302, Location="/a.png")]
        here.pages["/empty"] = [answer(b"")]
        scheme = "http" if here is site else "https"
        allowed = policy(here, ca_file=ca_file)
        for _ in range(5):
            assert fetch(at(here, scheme=scheme), allowed) == b"picture"
            assert fetch(at(here, "/moved", scheme=scheme), allowed) == b"picture"
            assert fetch(at(here, "/chunked", scheme=scheme), allowed) == b"abc"
            assert fetch(at(here, "/empty", scheme=scheme), allowed) == b""
            assert reason(at(here, "/missing", scheme=scheme), allowed) == "missing"
            assert remote_version(at(here, scheme=scheme), allowed) is None
        assert here.connections == 1


def test_many_threads_share_few_connections(site: Site) -> None:
    site.pages = {f"/{number}": [raw(length(4) + b"%4d" % number, pause=0.005, hang_up=False)] for number in range(200)}
    allowed = policy(site)
    with ThreadPoolExecutor(32) as pool:
        bodies = list(pool.map(lambda number: fetch(at(site, f"/{number}"), allowed), range(200)))
    assert bodies == [b"%4d" % number for number in range(200)]
    assert 1 < site.connections <= connections.CONNECTIONS


def test_sixteen_threads_at_once(safe_site: Site, ca_file: str, names: Names) -> None:
    safe_site.pages = {f"/{number}": [answer(b"%d" % number)] for number in range(64)}
    allowed = policy(safe_site, ca_file=ca_file)
    with ThreadPoolExecutor(16) as pool:
        urls = [at(safe_site, f"/{number}", scheme="https") for number in range(64)]
        assert list(pool.map(lambda url: fetch(url, allowed), urls)) == [b"%d" % number for number in range(64)]
    assert names.asked.count(HOST) == 1


def test_proxies_of_the_environment_are_ignored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["/a.png"] = [answer(b"picture")]
    assert fetch(at(site), policy(site)) == b"picture"


# What is tried again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(site: Site, status: int) -> None:
    site.pages["/a.png"] = [answer(b"later", status), answer(b"later", status), answer(b"picture")]
    assert fetch(at(site), policy(site, retries=2)) == b"picture"
    site.pages["/a.png"] = [answer(b"never", status)]
    assert reason(at(site), policy(site, retries=2)) == "unreachable"
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((404, "missing"), (410, "missing"), (401, "forbidden"), (403, "forbidden")),
        *((400, "unreadable"), (418, "unreadable"), (206, "unreadable"), (304, "unreadable"), (501, "unreadable")),
        (302, "unreadable"),  # to nowhere
    ],
)
def test_what_will_not_pass_is_not(site: Site, status: int, expected: str) -> None:
    site.pages["/a.png"] = [answer(b"", status)]
    assert reason(at(site), policy(site, retries=5)) == expected
    assert len(site.requests) == 1


def test_broken_connections_are_tried_again(site: Site) -> None:
    site.pages["/a.png"] = [raw(b""), raw(length(7) + b"pic"), raw(b"what?\r\n"), answer(b"picture")]
    assert fetch(at(site), policy(site, retries=3)) == b"picture"
    site.pages["/a.png"] = [raw(length(7) + b"pic")]
    assert reason(at(site), policy(site, retries=1)) == "unreachable"


def test_another_attempt_asks_another_address(site: Site, names: Names) -> None:
    names.answers[HOST] = [["127.0.0.2", LOCAL]]  # nobody listens at the first
    site.pages["/a.png"] = [answer(b"picture")]
    assert reason(at(site), policy(site)) == "unreachable"
    assert fetch(at(site), policy(site, retries=1)) == b"picture"


def test_a_short_rest_is_kept_and_a_long_one_not_waited_for(site: Site) -> None:
    site.pages["/a.png"] = [answer(b"", 503, Retry_After="1"), answer(b"picture")]
    start = time.monotonic()
    assert fetch(at(site), policy(site, retries=1)) == b"picture"
    assert time.monotonic() - start >= 1
    for rest in ("11", "9" * 9):
        site.pages["/a.png"] = [answer(b"", 429, Retry_After=rest), answer(b"picture")]
        start = time.monotonic()
        assert reason(at(site), policy(site, retries=1, total_seconds=60)) == "unreachable"
        assert time.monotonic() - start < 10
    for rest in ("9" * 5000, "-1", "Wed, 21 Oct 2015 07:28:00 GMT"):
        site.pages["/a.png"] = [answer(b"", 503, Retry_After=rest), answer(b"picture")]
        assert fetch(at(site), policy(site, retries=1)) == b"picture"


def test_no_sleep_beyond_the_deadline(site: Site) -> None:
    site.pages["/a.png"] = [answer(b"", 503, Retry_After="9")]
    start = time.monotonic()
    assert reason(at(site), policy(site, retries=1, total_seconds=8)) == "unreachable"
    assert time.monotonic() - start < 7


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, status: int) -> None:
    site.pages["/a"] = [answer(b"", status, Location="b/c?d=e")]
    site.pages["/b/c?d=e"] = [answer(b"", status, Location=at(site, "/\xc3\xbc.png", host=f"other.{HOST}"))]
    site.pages["/%C3%BC.png"] = [answer(b"picture")]
    assert fetch(at(site, "/a"), policy(site, max_redirects=2)) == b"picture"
    assert site.requests[-1][2]["Host"] == f"other.{HOST}:{site.port}"
    assert reason(at(site, "/a"), policy(site, max_redirects=1)) == "too_many_redirects"


def test_a_circle_of_redirects_ends(site: Site) -> None:
    site.pages["/a.png"] = [answer(b"", 302, Location="/a.png")]
    assert reason(at(site), policy(site, retries=5)) == "too_many_redirects"
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://evil.test/", "host_not_allowed"),
        ("//evil.test/a.png", "host_not_allowed"),
        ("https://pictures.test.evil.test/", "host_not_allowed"),
        ("http://pictures.test:22/", "host_not_allowed"),  # a port that is not allowed
        ("http://metadata.pictures.test:PORT/latest/", "private_address"),
        ("http://169.254.169.254:PORT/latest/", "private_address"),
        ("http://[fd00:ec2::254]:PORT/latest/", "private_address"),
        ("http://0x7f.1/", "bad_url"),
        ("http://user:secret@pictures.test/", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("ftp://pictures.test/a.png", "bad_url"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "bad_url"),
        ("/\\evil.test/a.png", "bad_url"),
        ("http://pictures.test/\ta.png", "bad_url"),
        ("http://[::1", "bad_url"),
        ("http://\xe2\x93\x94vil.test/", "bad_url"),
    ],
)
def test_redirects_are_checked(site: Site, names: Names, location: str, expected: str) -> None:
    names.answers["metadata.pictures.test"] = [["169.254.169.254"]]
    site.pages["/a.png"] = [answer(b"", 302, Location=location.replace("PORT", str(site.port)))]
    hosts = (HOST, "metadata.pictures.test", "169.254.169.254", "[fd00:ec2::254]")
    with pytest.raises(FetchError) as caught:
        fetch(at(site), policy(site, allowed_hosts=hosts, retries=5))
    assert caught.value.reason == expected
    assert "secret" not in str(caught.value)
    assert site.connections == len(site.requests) == 1


def test_tls_is_not_given_up(site: Site, safe_site: Site, ca_file: str) -> None:
    safe_site.pages["/a.png"] = [answer(b"", 302, Location=at(site))]
    site.pages["/a.png"] = [answer(b"picture")]
    site.pages["/up.png"] = [answer(b"", 302, Location=at(safe_site, "/b.png", scheme="https"))]
    safe_site.pages["/b.png"] = [answer(b"picture")]
    both = policy(site, safe_site, ca_file=ca_file)
    assert reason(at(safe_site, scheme="https"), both) == "bad_url"
    assert site.requests == []
    assert fetch(at(site, "/up.png"), both) == b"picture"


# Sizes and times


def test_the_largest_body(site: Site) -> None:
    site.pages["/a.png"] = [answer(b"12345")]
    assert fetch(at(site), policy(site, max_bytes=5)) == b"12345"
    assert reason(at(site), policy(site, max_bytes=4)) == "too_many_bytes"
    assert fetch(at(site), policy(site, max_bytes=4), max_bytes=5) == b"12345"
    assert reason(at(site), policy(site), max_bytes=4) == "too_many_bytes"


def test_a_length_over_the_limit_is_refused_before_the_body(site: Site) -> None:
    site.pages["/a.png"] = [raw(length(1000000), b"", pause=0.05, times=400)]
    start = time.monotonic()
    assert reason(at(site), policy(site, max_bytes=999_999)) == "too_many_bytes"
    assert time.monotonic() - start < 15  # of 20 seconds


def test_a_length_that_is_too_small(site: Site) -> None:
    """What comes after it is neither part of this body nor of the next answer."""
    lie = length(3) + b"abcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    site.pages["/a.png"] = [raw(lie, hang_up=False)]
    site.pages["/b.png"] = [answer(b"picture")]
    assert fetch(at(site), policy(site)) == b"abc"
    time.sleep(0.05)
    assert fetch(at(site, "/b.png"), policy(site)) == b"picture"


@pytest.mark.parametrize("length", ["-5", "abc", "1e9", "9" * 5000])
def test_a_length_that_is_none(site: Site, length: str) -> None:
    site.pages["/a.png"] = [raw(OK + b"Content-Length: " + length.encode() + b"\r\n\r\npicture")]
    assert fetch(at(site), policy(site)) == b"picture"


@pytest.mark.parametrize(
    "piece",
    [(OK + b"\r\n", b"x" * 5000), (CHUNKED, b"1388\r\n" + b"x" * 5000 + b"\r\n")],
)
def test_an_endless_body_is_cut(site: Site, piece: tuple[bytes, bytes]) -> None:
    sent: list[int] = []

    def endless(visitor: Any) -> None:
        visitor.close_connection = True
        visitor.wfile.write(piece[0])
        while True:
            sent.append(visitor.wfile.write(piece[1]))

    site.pages["/a.png"] = [endless]
    assert reason(at(site), policy(site, max_bytes=100_000)) == "too_many_bytes"
    time.sleep(0.1)
    assert sum(sent) < 20_000_000  # what fits into the sockets' buffers, and then it is told


@pytest.mark.parametrize(
    "encoding", ["gzip", "GZIP", "br", "deflate, gzip", "identity, gzip", "zstd", "aws-chunked,gzip", "x-gzip"]
)
def test_bombs_do_not_go_off(site: Site, encoding: str) -> None:
    site.pages["/a.png"] = [answer(BOMB, Content_Encoding=encoding)]
    assert reason(at(site), policy(site, max_bytes=100_000)) == "unreadable"


@pytest.mark.parametrize(
    "encoding", ["Identity", "aws-chunked", "AWS-Chunked,identity", "utf-8", "binary", "none", "", "UTF-8, aws-chunked"]
)
def test_a_coding_that_is_no_compression_is_none(site: Site, encoding: str) -> None:
    site.pages["/a.png"] = [answer(b"picture", Content_Encoding=encoding)]
    assert fetch(at(site), policy(site)) == b"picture"


TRICKLES = {
    "body": (length(100000), b"x"),
    "body without a length": (OK + b"\r\n", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "a chunk's length": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n"),
    "headers": (OK, b"a: b\r\n"),
    "one header": (OK + b"a: ", b"b"),
    "status": (b"HTTP", b"1"),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n",),
    "error page": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9999\r\n\r\n", b"x"),
    "silence": (b"",),
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("what", TRICKLES)
def test_a_trickle_ends_at_the_deadline(site: Site, safe_site: Site, ca_file: str, what: str, tls: bool) -> None:
    here = safe_site if tls else site
    here.pages["/a.png"] = [raw(*TRICKLES[what], pause=0.02, times=1500)]
    start = time.monotonic()
    expected = "missing" if what == "error page" else "unreachable"
    url = at(here, scheme="https" if tls else "http")
    assert reason(url, policy(here, total_seconds=0.2, retries=9, ca_file=ca_file)) == expected
    assert 0.15 < time.monotonic() - start < 15  # of 30 seconds


def test_the_deadline_holds_for_redirects_and_retries_together(site: Site) -> None:
    def slowly(visitor: Any) -> None:
        time.sleep(0.05)
        answer(b"", 302, Location="/a.png")(visitor)

    site.pages["/a.png"] = [slowly]
    start = time.monotonic()
    assert reason(at(site), policy(site, total_seconds=0.3, max_redirects=400)) == "unreachable"
    assert time.monotonic() - start < 15  # of 20 seconds


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_accepts_or_greets(names: Names, scheme: str) -> None:
    with socket.socket() as listening:
        listening.bind((LOCAL, 0))
        listening.listen()
        port = listening.getsockname()[1]
        allowed = replace(policy(), allowed_ports=(port,), connect_seconds=0.2, total_seconds=0.4)
        start = time.monotonic()
        assert reason(f"{scheme}://{HOST}:{port}/", allowed) == "unreachable"
        assert time.monotonic() - start < 20
    assert reason(f"{scheme}://{HOST}:{port}/", allowed) == "unreachable"  # refused


# Names and addresses


def test_the_address_that_was_checked_is_the_one_connected_to(site: Site, names: Names) -> None:
    """A name server that says something else the second time is not asked a second time."""
    names.answers[HOST] = [[PUBLIC], [LOCAL]]
    names.here = {PUBLIC}
    site.pages["/a.png"] = [answer(b"picture")]
    allowed = policy(site, allowed_networks=())
    assert fetch(at(site), allowed) == b"picture"
    assert names.asked == [HOST, PUBLIC]
    forget()
    assert reason(at(site), allowed) == "private_address"
    assert names.asked == [HOST, PUBLIC, HOST]


def test_a_rebinding_redirect_is_refused(site: Site, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ANSWER_SECONDS", 0)
    names.answers[HOST] = [[PUBLIC], [LOCAL]]
    names.here = {PUBLIC}
    site.pages["/a.png"] = [answer(b"", 302, Location="/b.png")]
    site.pages["/b.png"] = [answer(b"secret")]
    assert reason(at(site), policy(site, allowed_networks=())) == "private_address"
    assert [path for _, path, _ in site.requests] == ["/a.png"]


@pytest.mark.parametrize("found", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], ["::ffff:7f00:1"]])
def test_one_private_address_among_public_ones(site: Site, names: Names, found: list[str]) -> None:
    names.answers[HOST] = [found]
    names.here = {PUBLIC}
    assert reason(at(site), policy(site, allowed_networks=(), retries=3)) == "private_address"
    assert site.connections == 0
    assert names.asked == [HOST]


def test_a_network_is_allowed_and_others_are_not(site: Site, names: Names) -> None:
    site.pages["/a.png"] = [answer(b"picture")]
    assert fetch(at(site), policy(site, allowed_networks=("10.0.0.0/8", "127.0.0.1/32"))) == b"picture"
    assert reason(at(site), policy(site, allowed_networks=("10.0.0.0/8", "127.0.0.2/32"))) == "private_address"


def test_a_name_that_is_none(names: Names) -> None:
    names.answers[HOST] = [socket.gaierror(socket.EAI_NONAME, "unknown")]
    assert reason(f"http://{HOST}/", policy(allowed_ports=(80,), retries=3)) == "unreachable"
    assert names.asked == [HOST]


def test_a_name_server_that_is_busy(site: Site, names: Names) -> None:
    names.answers[HOST] = [socket.gaierror(socket.EAI_AGAIN, "busy"), [LOCAL]]
    site.pages["/a.png"] = [answer(b"picture")]
    assert fetch(at(site), policy(site, retries=1)) == b"picture"


def test_a_name_server_that_says_nothing(names: Names) -> None:
    never = threading.Event()
    names.answers[HOST] = [never]
    start = time.monotonic()
    allowed = policy(allowed_ports=(80,), total_seconds=0.2, retries=9)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: reason(f"http://{HOST}/", allowed), range(4)))
        assert found == ["unreachable"] * 4
        assert time.monotonic() - start < 20
        assert names.asked == [HOST]  # one question for all
    finally:
        never.set()


def test_answers_are_kept_for_a_while_and_not_without_end(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ANSWERS", 2)
    names.answers |= {name: [[LOCAL]] for name in "abc"}
    for name in "aabbccca":
        assert addresses.lookup(name, 5) == (LOCAL,)
    assert "".join(names.asked) == "abca"
    assert set(addresses._answers) == {"c", "a"}


# Versions


def test_versions(site: Site) -> None:
    changed = "Wed, 21 Oct 2015 07:28:00 GMT"
    site.pages["/etag"] = [answer(b"picture", ETag='W/"abc"', Last_Modified=changed)]
    site.pages["/time"] = [answer(b"picture", Last_Modified=changed)]
    site.pages["/no-size"] = [raw(OK + f"Connection: close\r\nLast-Modified: {changed}\r\n\r\n".encode())]
    site.pages["/none"] = [answer(b"picture")]
    site.pages["/moved"] = [answer(b"", 301, Location="/etag")]
    found = {path: remote_version(at(site, path), policy(site)) for path in site.pages}
    assert found.pop("/time") == f"{changed} 7"
    assert found == {"/etag": 'W/"abc"', "/no-size": None, "/none": None, "/moved": 'W/"abc"'}
    assert {method for method, _, _ in site.requests} == {"HEAD"}
    site.pages["/time"] = [answer(b"pictures", Last_Modified=changed)]
    assert remote_version(at(site, "/time"), policy(site)) == f"{changed} 8"
    with pytest.raises(FetchError) as caught:
        remote_version(at(site, "/missing"), policy(site))
    assert caught.value.reason == "missing"


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (400, "unreadable"), (401, "forbidden"), (403, "forbidden"), (404, "missing"), (405, "unreadable"),
        (406, "unreadable"), (410, "missing"), (418, "unreadable"), (500, "unreachable"), (501, "unreadable"),
        (502, "unreachable"),
    ],
)  # fmt: skip
def test_what_a_server_says_of_head_is_not_believed(site: Site, status: int, then: str) -> None:
    """Its GET is asked; of a body that never ends, none is read."""
    endless = raw(OK + b'ETag: "abc"\r\nContent-Length: 99999999\r\n\r\n', b"x" * 1000, pause=0.05, times=400)
    site.pages["/a.png"] = [answer(b"", status), endless]
    start = time.monotonic()
    assert remote_version(at(site), policy(site, retries=0)) == '"abc"'
    assert time.monotonic() - start < 15  # of 20 seconds
    assert [method for method, _, _ in site.requests] == ["HEAD", "GET"]
    site.pages["/a.png"] = [answer(b"", status)]
    with pytest.raises(FetchError) as caught:
        remote_version(at(site), policy(site, retries=0))
    assert caught.value.reason == then
