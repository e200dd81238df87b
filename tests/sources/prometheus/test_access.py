"""How a source gets in: tokens, users, certificates; and that secrets are not shown."""

from __future__ import annotations

import base64
import ssl
import subprocess

import pytest

from planner.sources.base import SourceError
from planner.sources.prometheus import Credentials, PrometheusApi
from tests.sources.prometheus.server import SECRET


async def test_nobody_is_named_without_credentials(server, serve, connect):
    await (await connect(await serve())).observe(60.0)
    assert not any("Authorization" in headers for headers in server.headers)


async def test_a_token_goes_with_every_query_and_before_a_user(server, serve, connect):
    source = await connect(await serve(), bearer_token=SECRET, username="me", password="other")
    await source.observe(60.0)
    assert {headers.get("Authorization") for headers in server.headers} == {f"Bearer {SECRET}"}


@pytest.mark.parametrize("password", [None, "pass"])
async def test_a_user_may_have_a_password(server, serve, connect, password):
    server.allowed = "Basic " + base64.b64encode(f"me:{password or ''}".encode()).decode()
    source = await connect(await serve(), username="me", password=password)
    assert not (await source.observe(60.0)).blind


@pytest.mark.parametrize("wrong", [{"bearer_token": SECRET}, {"username": "me", "password": SECRET}, {}])
async def test_wrong_credentials_are_told_without_the_secret(server, serve, connect, wrong):
    server.allowed = "Bearer right"
    source = await connect(await serve(), **wrong)
    at_start = str(source.status)
    assert (await source.observe(60.0)).blind
    assert "HTTP 401: who are you?" in str(source.status.errors)
    told = at_start + str(source.status) + str(await source.check()) + repr(source) + repr(source.__dict__)
    assert SECRET not in told
    assert base64.b64encode(f"me:{SECRET}".encode()).decode() not in told


def test_credentials_do_not_show_their_secrets(tmp_path):
    credentials = Credentials(bearer_token=SECRET, username="me", password=f"{SECRET}!", ca_file=tmp_path / "ca")
    for shown in (repr(credentials), str(credentials), f"{credentials}", f"{[credentials]}"):
        assert SECRET not in shown
        assert "me" in shown


async def test_a_token_file_that_is_not_there_yet(server, serve, connect, tmp_path):
    file = tmp_path / "token"
    server.allowed = "Bearer late"
    source = await connect(await serve(), bearer_token_file=file)
    assert (await source.observe(60.0)).blind
    assert f"the token file {file} cannot be read" in str(source.status.errors)
    assert server.forms == []
    file.write_text("  late\n")
    assert not (await source.observe(60.0)).blind


async def test_a_token_file_is_read_again_when_a_link_is_turned_as_in_a_mounted_secret(
    server, serve, connect, tmp_path
):
    for version in ("first", "second"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
    link, file = tmp_path / "data", tmp_path / "data" / "token"
    link.symlink_to(tmp_path / "first")
    source = await connect(await serve(), bearer_token_file=file)
    await source.observe(60.0)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer first"}
    (tmp_path / "next").symlink_to(tmp_path / "second")
    (tmp_path / "next").replace(link)
    server.headers.clear()
    await source.observe(60.0)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer second"}


async def test_a_token_file_that_was_unusable_for_a_while(server, serve, connect, tmp_path):
    file = tmp_path / "token"
    file.write_text(SECRET)
    source = await connect(await serve(), bearer_token_file=file)
    file.write_bytes(b"\xff\xfe" + SECRET.encode())
    assert (await source.observe(60.0)).blind
    assert "cannot be read" in str(source.status.errors)
    assert SECRET not in str(source.status)
    (tmp_path / "next").write_text(SECRET)
    (tmp_path / "next").replace(file)
    assert not (await source.observe(60.0)).blind


async def test_a_token_file_may_be_a_folder_and_is_then_an_error(serve, connect, tmp_path):
    source = await connect(await serve(), bearer_token_file=tmp_path)
    assert (await source.observe(60.0)).blind
    assert str(tmp_path) in str(source.status.errors)


@pytest.mark.parametrize("token", ["hunter2\nsecond", "hunter2\x00", "hünter2", " "])
async def test_a_token_that_no_header_may_have_is_not_shown(serve, connect, token):
    source = await connect(await serve(), bearer_token=token)
    assert (await source.observe(60.0)).blind
    shown = str(source.status) + str(await source.check())
    assert "the bearer token" in shown
    assert "nter2" not in shown


async def test_a_password_in_the_address_is_never_shown(connect):
    source = await connect("http://me:hunter2@127.0.0.1:9")
    await source.observe(60.0)
    assert "hunter2" not in str(source.status) + str(await source.check())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority of our own, one that signed nothing, and TLS contexts of servers by name."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
    contexts = {}
    for name, alternative in {"here": "IP:127.0.0.1", "elsewhere": "DNS:prometheus.example"}.items():
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n")
        openssl(
            *("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )
        contexts[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        contexts[name].load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return folder, contexts


@pytest.mark.parametrize(
    ("name", "authority", "verify", "accepted"),
    [
        ("here", None, True, False),
        ("here", "ca.pem", True, True),
        ("here", "stranger.pem", True, False),
        ("here", None, False, True),
        ("here", "stranger.pem", False, True),
        ("elsewhere", "ca.pem", True, False),
        ("elsewhere", "ca.pem", False, True),
    ],
)
async def test_a_certificate_must_be_signed_by_whom_we_trust_and_for_the_address(
    server, serve, connect, certificates, name, authority, verify, accepted
):
    folder, contexts = certificates
    source = await connect(
        await serve(context=contexts[name]),
        ca_file=folder / authority if authority else None,
        verify=verify,
        bearer_token=SECRET,
    )
    assert (await source.observe(60.0)).blind is not accepted
    if not accepted:
        assert "certificate" in str(source.status.errors).lower()
        assert server.headers == [], "the token went to somebody we do not trust"


@pytest.mark.parametrize(
    "content", [None, "", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_ca_file_that_cannot_be_used_is_named_with_its_option(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SourceError, match="--prometheus-ca-file") as refused:
        PrometheusApi("https://h", credentials=Credentials(ca_file=file))
    assert str(file) in str(refused.value)


async def test_plain_http_where_tls_is_spoken_is_blindness(serve, connect, certificates):
    url = await serve(context=certificates[1]["here"])
    source = await connect(url.replace("https:", "http:"))
    assert (await source.observe(60.0)).blind
    assert source.status.errors
