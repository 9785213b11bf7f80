"""Addresses: each host has one form, and inner ones are never asked."""

from __future__ import annotations

import ipaddress

import pytest

from lookalike.data.errors import FetchError
from lookalike.data.fetch.addresses import hide_secrets, is_public, normal_host, shown, target_of
from lookalike.data.fetch.client import fetch, remote_version
from lookalike.data.fetch.policy import FetchPolicy
from tests.support.fetches import HOST, reason
from tests.support.sites import LOCAL, Names

PUBLIC = "93.184.215.14"

BAD_URLS = [
    # one address in the ways that some programs understand
    *("http://0x7f.1/", "http://0x7f000001/", "http://0X7F.0.0.1/", "http://2130706433/", "http://017700000001/"),
    *("http://0177.0.0.1/", "http://127.1/", "http://127.0.1/", "http://127.0.0.01/", "http://0/", "http://1/"),
    *("http://127.0.0.1.1/", "http://127.0.0.256/", "http://127.0.0.0x1/", "http://0x/", "http://127.0.0.1../"),
    *("http://pictures.test.1/", "http://4294967297/", "http://127.0.0.08/", "http://00000177.1/"),
    # the same in other alphabets
    *(
        "http://127\u30020\u30020\u30021/",
        "http://127\uff0e0\uff0e0\uff0e1/",
        "http://127\uff610\uff610\uff611/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://\u2460\u2461\u2466.0.0.1/",
    ),
    *(
        "http://pictures\u3002test/",
        "http://\u24d4xample.test/",
        "http://p\u0131ctures\u200b.test/",
        "http://\uff50ictures.test/",
    ),
    *("http://pictures\u2024test/", "http://a\u2100b.test/", "http://pictures.test\uff0fevil.test/"),
    # brackets
    *(
        "http://[::1",
        "http://::1/",
        "http://[::1]evil.test/",
        "http://[127.0.0.1]/",
        "http://[::1%25lo]/",
        "http://[]/",
    ),
    *("http://[fe80::1%eth0]/", "http://[v1.fe80]/", "http://[pictures.test]/", "http://[::1]:/", "http://[0:0]/"),
    # users, percent signs, ports
    *(
        "http://user@pictures.test/",
        "http://user:secret@pictures.test/",
        f"http://user:secret{'t' * 800}@pictures.test/",
        "http://pictures.test@evil.test/",
        "http://@a/",
    ),
    *(
        "http://pictures%2etest/",
        "http://%70ictures.test/",
        "http://127.0.0.1%00.pictures.test/",
        "http://%31%32%37.1/",
    ),
    *("http://pictures.test:/", "http://pictures.test:0/", "http://pictures.test:65536/", "http://pictures.test:80a/"),
    *(
        "http://pictures.test:-80/",
        "http://pictures.test:\uff18\uff10/",
        "http://pictures.test:080/",
        "http://a:80:80/",
    ),
    # backslashes, control characters, space
    *("http:\\\\pictures.test/", "http://pictures.test\\@evil.test/", "http://evil.test\\.pictures.test/"),
    *(
        "http://pictures.test/\r\nHost: evil.test",
        "http://pictures.test/\na",
        "http://pictures.test/\0",
        "http://a\tb/",
    ),
    *(
        "http://pictures.test/\x7f",
        "http://pictures.test/\x85",
        "http://pictures.test/\u2028",
        "\x01http://pictures.test",
    ),
    *(" http://pictures.test/", "http://pictures.test/ ", "http://pictures .test/", "ht\ntp://pictures.test/"),
    # no host, or none that can be
    *("http://", "http:///a.png", "http:/pictures.test/", "http:pictures.test", "https://", "http://./", "http://?a"),
    *("http://a..b/", "http://.pictures.test/", "http://-a.test/", "http://a-.test/", f"http://{'a' * 64}.test/"),
    *(
        f"http://{'a.' * 127}test/",
        f"http://{'a.' * 125}test/",
        "http://a;b/",
        "http://a,b/",
        "http://a&b/",
        "http://a'b/",
        "http://*.test/",
    ),
    *(f"http://pictures.test/{'a' * 8192}", "http://xn--\xfc.test/", "http://\ud800.test/"),
    # other schemes
    *("file:///etc/passwd", "ftp://pictures.test/", "gopher://pictures.test/", "//pictures.test/", "pictures.test", ""),
    *("data:image/png;base64,AAAA", "javascript:alert(1)", "https+unix://pictures.test/", "ws://pictures.test/"),
]


@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: ascii(url)[:60])
def test_a_host_has_one_form(names: Names, url: str) -> None:
    hosts = (HOST, "*.test", "*.pictures.test", LOCAL, "0.0.0.1", "[::1]", "localhost", "evil.test")
    everything = FetchPolicy(allowed_hosts=hosts, allowed_networks=("0.0.0.0/0", "::/0"))
    with pytest.raises(FetchError) as caught:
        fetch(url, everything)
    assert caught.value.reason == "bad_url"
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)
    assert names.asked == []


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "100.100.100.200", "192.168.1.1", "172.31.0.1"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:93.184.215.14]"),
        *("[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:1:2::3]", "[fd00:ec2::254]"),
        *("[fe80::1]", "[fec0::1]", "[ff02::1]", "[::ffff:0:127.0.0.1]", "[2001:db8::1]", "[5f00::1]", "224.0.0.1"),
    ],
)
def test_addresses_that_are_not_public(names: Names, host: str) -> None:
    assert reason(f"http://{host}/", FetchPolicy(allowed_hosts=(host,), retries=3)) == "private_address"
    assert names.asked == []


def test_the_forms_that_are_one() -> None:
    assert normal_host("PICTURES.Test.") == HOST
    assert normal_host("BÜCHER.example") == normal_host("xn--bcher-kva.example") == "xn--bcher-kva.example"
    assert normal_host("faß.example") == "xn--fa-hia.example"
    assert normal_host("[0:0::0001]") == "::1"
    assert normal_host("my_bucket.s3.test") == "my_bucket.s3.test"
    target = target_of("HTTPS://[2001:4860::8888]:8443?a=b#c")
    assert (target.scheme, target.host, target.path) == ("https", "2001:4860::8888", "/?a=b")
    assert target.authority == "[2001:4860::8888]:8443"
    assert target_of("https://PICTURES.test.:443/").authority == HOST


@pytest.mark.parametrize(
    "text", ["8.8.8.8", PUBLIC, "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:80b::200e", "172.32.0.1"]
)
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "network",
    [
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"),
        *("100::/64", "2001::/32", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "fc00::/7", "fe80::/10"),
        *("fec0::/10", "ff00::/8"),
    ],
)
def test_networks_that_are_not_public(network: str) -> None:
    found = ipaddress.ip_network(network)
    assert not is_public(found[0])
    assert not is_public(found[-1])


def test_what_is_not_allowed_is_not_even_looked_up(names: Names) -> None:
    assert reason(f"http://{HOST}/", FetchPolicy()) == "host_not_allowed"
    assert reason(f"http://{HOST}:22/", FetchPolicy(allowed_hosts=(HOST,))) == "host_not_allowed"
    with pytest.raises(FetchError, match="LOOKALIKE_FETCH__ALLOWED_HOSTS"):
        remote_version(f"http://{HOST}/", FetchPolicy())
    assert names.asked == []


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://user:pw@shop.com/a.jpg", "https://…@shop.com/a.jpg"),
        ("https://shop.com/a.jpg?size=256&v=3", "https://shop.com/a.jpg?size=256&v=3"),
        (
            "https://b.s3.amazonaws.com/a.jpg?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0a1b&X-Amz-Date=20261129T000000Z",
            "https://b.s3.amazonaws.com/a.jpg?X-Amz-Credential=…&X-Amz-Signature=…&X-Amz-Date=20261129T000000Z",
        ),
        (
            "https://x.blob.core.windows.net/a.jpg?sv=2022&sig=a%2Bb",
            "https://x.blob.core.windows.net/a.jpg?sv=2022&sig=…",
        ),
        (
            "https://shop.com/image.php?id=3;token=abc#access_token=x",
            "https://shop.com/image.php?id=3;token=…#access_token=…",
        ),
        ("https://shop.com/a.jpg?" + "z" * 30, "https://shop.com/a.jpg?" + "z" * 30),
        ("https://shop.com/a.jpg?z=" + "z" * 30, "https://shop.com/a.jpg?z=…"),
        ("/shop/a?b.jpg", "/shop/a?b.jpg"),
        ("p\u00e4.jpg", "p\u00e4.jpg"),
    ],
)
def test_secrets_of_a_url_are_not_shown(url: str, safe: str) -> None:
    assert hide_secrets(url) == safe
    assert shown(url) == safe
