"""Credentials of every kind of provider, from stand-ins on loopback; renewed without anyone waiting, or the loop."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError

from sessions_dynamo.dataplane import credentials
from sessions_dynamo.dataplane.credentials import CredentialKeeper
from sessions_dynamo.dataplane.plane import DataPlane
from sessions_dynamo.errors import CredentialsMissing, StorageUnavailable, boto_errors
from tests.sessions_dynamo.dataplane.servers import Seen, Server, answer, error, sends, serving
from tests.sessions_dynamo.dataplane.support import GET, heartbeat, plane, until

ANSWERED = sends(answer({"Item": {"id": {"S": "one"}}}))


class Issuer:
    """Hands out numbered keys: KEY1, KEY2, ... It can be stopped, and told to refuse."""

    def __init__(self) -> None:
        self.issued = 0
        self.lives = timedelta(hours=1)
        self.open = threading.Event()
        self.open.set()
        self.refuses = False
        self.token_asked = False

    def keys(self) -> dict[str, str]:
        self.issued += 1
        ends = (datetime.now(UTC) + self.lives).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "Code": "Success",
            "AccessKeyId": f"KEY{self.issued}",
            "SecretAccessKey": "secret",
            "Token": f"TOKEN{self.issued}",
            "Expiration": ends,
        }

    def instance_metadata(self, connection: socket.socket, seen: Seen) -> bool:
        """IMDS, version 2 alone."""
        if seen.target == "/latest/api/token":
            connection.sendall(answer(b"IMDS-TOKEN", crc=None))
        elif seen.headers.get("x-aws-ec2-metadata-token") != "IMDS-TOKEN":
            connection.sendall(answer(b"", 401, crc=None))
        elif seen.target.endswith("/security-credentials/"):
            connection.sendall(answer(b"role", crc=None))
        else:
            self._hand_out(connection, json.dumps)
        return True

    def container(self, connection: socket.socket, seen: Seen) -> bool:
        """What ECS and EKS have."""
        assert seen.headers["authorization"] == "PASSWORD"
        self._hand_out(connection, json.dumps)
        return True

    def sts(self, connection: socket.socket, seen: Seen) -> bool:
        """AssumeRole and AssumeRoleWithWebIdentity."""
        action = "AssumeRoleWithWebIdentity" if b"WebIdentityToken=TOKEN" in seen.body else "AssumeRole"

        def xml(keys: dict[str, str]) -> str:
            members = {**keys, "SessionToken": keys["Token"]}
            inner = "".join(
                f"<{name}>{members[name]}</{name}>"
                for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
            )
            arn = "arn:aws:sts::123456789012:assumed-role/r/s"
            user = f"<AssumedRoleUser><AssumedRoleId>r:s</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>"
            return (
                f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
                f"<Credentials>{inner}</Credentials>{user}</{action}Result></{action}Response>"
            )

        self._hand_out(connection, xml)
        return True

    def _hand_out(self, connection: socket.socket, form: Callable[[dict[str, str]], str]) -> None:
        self.open.wait(30)
        if self.refuses:
            connection.sendall(answer(b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", 403))
        else:
            connection.sendall(answer(form(self.keys()).encode(), crc=None))


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.open.set()


@pytest.fixture
def dynamodb_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """DynamoDB's stand-in, and nobody's credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving(ANSWERED) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        yield server


@pytest.fixture
def container(issuer: Issuer, dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A container's credentials."""
    with serving(issuer.container) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/keys")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "PASSWORD")
        yield server


def signed_with(server: Server) -> list[str]:
    """The access keys of the requests, in order."""
    return [seen.headers["authorization"].split("Credential=")[1].split("/")[0] for seen in server.seen]


def keeper_of(ours: DataPlane) -> CredentialKeeper:
    assert ours._parts is not None
    return ours._parts.keeper


def due(ours: DataPlane, left: timedelta = timedelta(minutes=12)) -> None:
    """Make the renewal due now; the snapshot is still valid."""
    keeper = keeper_of(ours)
    keeper._next_try = keeper.check_at = 0.0
    keeper._found._expiry_time = datetime.now(UTC) + left  # type: ignore[union-attr]


def expired(ours: DataPlane) -> None:
    """As after a freeze: the snapshot has expired, nothing was renewed."""
    due(ours, timedelta(0))
    keeper_of(ours)._expires = 0.0


# --- Found ----------------------------------------------------------------------------------------------------


async def test_from_the_environment(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKEN")
    async with plane() as ours:
        await ours.request("GetItem", GET)
        assert keeper_of(ours).check_at == inf
    assert signed_with(dynamodb_server) == ["ENV"]
    assert dynamodb_server.seen[0].headers["x-amz-security-token"] == "TOKEN"


async def test_from_a_profile(dynamodb_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("[mine]\naws_access_key_id = FILE\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    async with plane() as ours:
        await ours.request("GetItem", GET)
    assert signed_with(dynamodb_server) == ["FILE"]


async def test_from_a_process(dynamodb_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys.json").write_text('{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "secret"}')
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path / 'keys.json'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with plane() as ours:
        await ours.request("GetItem", GET)
    assert signed_with(dynamodb_server) == ["PROCESS"]


async def test_from_the_instance(dynamodb_server: Server, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(issuer.instance_metadata) as metadata:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        await _found_and_renewed(dynamodb_server)


async def test_from_the_container(dynamodb_server: Server, container: Server) -> None:
    await _found_and_renewed(dynamodb_server)


async def test_from_a_web_identity(
    dynamodb_server: Server, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jwt").write_text("TOKEN")
    issuer.lives = timedelta(minutes=12)  # botocore keeps what it has from STS until 15 minutes before the end.
    with serving(issuer.sts) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "jwt"))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
        await _found_and_renewed(dynamodb_server)


async def test_from_a_role_that_a_profile_assumes(
    dynamodb_server: Server, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = secret\n"
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"
    )
    issuer.lives = timedelta(minutes=12)  # botocore keeps what it has from STS until 15 minutes before the end.
    with serving(issuer.sts) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "role")
        await _found_and_renewed(dynamodb_server)


async def _found_and_renewed(server: Server) -> None:
    async with plane() as ours, heartbeat() as heart:
        await ours.request("GetItem", GET)
        first = keeper_of(ours).keys
        assert first is not None
        assert heart.beats > 0
        due(ours)
        await ours.request("GetItem", GET)
        await until(lambda: keeper_of(ours).keys is not first)
        await ours.request("GetItem", GET)
    before, meanwhile, after = signed_with(server)
    assert before == meanwhile == first.access_key
    assert after != before
    assert server.seen[2].headers["x-amz-security-token"] == after.replace("KEY", "TOKEN")


# --- Renewed --------------------------------------------------------------------------------------------------


async def test_no_request_waits_for_a_renewal_that_stalls(
    dynamodb_server: Server, container: Server, issuer: Issuer
) -> None:
    async with plane() as ours, heartbeat() as heart:
        await ours.start()
        issuer.open.clear()
        due(ours)
        for _ in range(5):
            await ours.request("GetItem", GET)
        await until(lambda: len(container.seen) == 2)
        beats = heart.beats
        await until(lambda: heart.beats > beats + 5)
        await ours.request("GetItem", GET)
        assert signed_with(dynamodb_server) == ["KEY1"] * 6
        issuer.open.set()
        await until(lambda: keeper_of(ours).keys.access_key == "KEY2")  # type: ignore[union-attr]
        await ours.request("GetItem", GET)
    assert signed_with(dynamodb_server)[6:] == ["KEY2"]
    assert len(container.seen) == 2


async def test_they_are_renewed_in_time_without_a_request(
    dynamodb_server: Server, container: Server, issuer: Issuer
) -> None:
    issuer.lives = timedelta(seconds=3)
    async with plane() as ours:
        await ours.start()
        await until(lambda: issuer.issued >= 2)


async def test_expired_they_are_waited_for_by_all_and_looked_up_once(
    dynamodb_server: Server, container: Server, issuer: Issuer
) -> None:
    async with plane() as ours, heartbeat() as heart:
        await ours.start()
        issuer.open.clear()
        expired(ours)
        waiting = [asyncio.create_task(ours.request("GetItem", GET)) for _ in range(5)]
        await until(lambda: len(container.seen) == 2)
        beats = heart.beats
        await until(lambda: heart.beats > beats + 5)
        assert not any(task.done() for task in waiting)
        assert dynamodb_server.seen == []
        waiting.pop().cancel()
        issuer.open.set()
        await asyncio.gather(*waiting)
    assert signed_with(dynamodb_server) == ["KEY2"] * 4
    assert len(container.seen) == 2


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(minutes=12), "Refreshing temporary credentials failed"),
        (timedelta(minutes=5), "AWS credentials were not renewed; the old ones hold for"),
    ],
)
async def test_a_renewal_that_fails_is_logged_and_tried_again(
    left: timedelta,
    said: str,
    dynamodb_server: Server,
    issuer: Issuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = {**issuer.keys(), "Version": 1, "SessionToken": "TOKEN1"}
    del keys["Token"], keys["Code"]
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(keys))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {file}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(credentials, "LONGEST_PAUSE", 0.02)
    async with plane() as ours:
        await ours.start()
        file.unlink()
        with caplog.at_level(logging.WARNING):
            due(ours, left)
            await ours.request("GetItem", GET)
            await until(lambda: keeper_of(ours)._failures >= 3)
        assert said in caplog.text
        await ours.request("GetItem", GET)
        file.write_text(json.dumps({**keys, "AccessKeyId": "KEY2"}))
        await until(lambda: keeper_of(ours).keys.access_key == "KEY2")  # type: ignore[union-attr]
        await ours.request("GetItem", GET)
    assert signed_with(dynamodb_server) == ["KEY1", "KEY1", "KEY2"]


async def test_pauses_between_looks_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise CredentialRetrievalError(provider="p", error_msg="no")

    monkeypatch.setattr(credentials, "time", SimpleNamespace(time=lambda: 1000.0))
    monkeypatch.setattr(credentials, "random", SimpleNamespace(uniform=lambda least, most: most))
    keeper = CredentialKeeper(refuse, refuse)
    pauses = []
    for _ in range(8):
        keeper._next_try = 0.0
        with pytest.raises(CredentialRetrievalError):
            await keeper.valid()
        pauses.append(keeper._next_try - 1000)
    await keeper.close()
    assert pauses == [1, 2, 4, 8, 16, 20, 20, 20]


async def test_expired_and_refused_it_says_so_at_once_until_the_next_try(
    dynamodb_server: Server, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jwt").write_text("TOKEN")
    issuer.lives = timedelta(minutes=12)  # botocore keeps what it has from STS until 15 minutes before the end.
    with serving(issuer.sts) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "jwt"))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
        async with plane() as ours:
            await ours.start()
            issuer.refuses = True
            expired(ours)
            with pytest.raises(ClientError, match="AccessDenied"):
                await ours.request("GetItem", GET)
            asked = len(sts.seen)
            for _ in range(3):
                with pytest.raises(StorageUnavailable), boto_errors("table"):
                    await ours.request("GetItem", GET)
            assert len(sts.seen) == asked
            issuer.refuses = False
            keeper_of(ours)._next_try = 0.0
            await ours.request("GetItem", GET)
            assert signed_with(dynamodb_server) == [f"KEY{issuer.issued}"]


# --- Refused by the service -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
async def test_a_token_that_dynamodb_calls_expired_is_renewed_once_for_all(
    code: str, dynamodb_server: Server, container: Server
) -> None:
    def refuse_the_first(connection: socket.socket, seen: Seen) -> bool:
        refused = "Credential=KEY1/" in seen.headers["authorization"]
        return (sends(error(code)) if refused else ANSWERED)(connection, seen)

    async with plane() as ours:
        await ours.request("GetItem", GET)
        dynamodb_server.script = [refuse_the_first]
        await asyncio.gather(*(ours.request("GetItem", GET) for _ in range(4)))
    assert sorted(signed_with(dynamodb_server)) == ["KEY1"] * 5 + ["KEY2"] * 4
    assert len(container.seen) == 2


async def test_one_that_is_expired_again_is_not_tried_again(dynamodb_server: Server, container: Server) -> None:
    dynamodb_server.script = [sends(error("ExpiredTokenException"))]
    async with plane() as ours:
        with pytest.raises(CredentialsMissing, match="Renew them"), boto_errors("table"):
            await ours.request("GetItem", GET)
    assert signed_with(dynamodb_server) == ["KEY1", "KEY2"]


async def test_static_keys_that_are_refused_are_looked_up_anew_but_not_at_every_request(
    dynamodb_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str) -> None:
        (tmp_path / "keys").write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = secret\n")

    write("OLD")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    dynamodb_server.script = [*[sends(error("ExpiredTokenException"))] * 3, ANSWERED]
    async with plane() as ours:
        for _ in range(2):
            with pytest.raises(ClientError, match="ExpiredToken"):
                await ours.request("GetItem", GET)
        write("NEW")
        keeper_of(ours)._next_look_anew = 0.0
        await ours.request("GetItem", GET)
        assert keeper_of(ours).check_at == inf
    assert signed_with(dynamodb_server) == ["OLD", "OLD", "OLD", "NEW"]


async def test_closed_while_a_request_waits_for_them(
    dynamodb_server: Server, container: Server, issuer: Issuer
) -> None:
    ours = DataPlane()
    await ours.start()
    issuer.open.clear()
    expired(ours)
    task = asyncio.create_task(ours.request("GetItem", GET))
    await until(lambda: len(container.seen) == 2)
    await ours.close()
    with pytest.raises(RuntimeError, match="closed"):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- None -----------------------------------------------------------------------------------------------------


async def test_none_are_named_and_found_once_they_are_there(
    dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with plane() as ours:
        with pytest.raises(NoCredentialsError):
            await ours.request("GetItem", GET)
        with pytest.raises(CredentialsMissing, match="No usable AWS credentials"), boto_errors("table"):
            await ours.request("GetItem", GET)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "LATE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        keeper_of(ours)._next_try = 0.0
        await ours.request("GetItem", GET)
    assert signed_with(dynamodb_server) == ["LATE"]


async def test_a_first_look_that_stalls_leaves_the_loop_alone_and_can_be_left(
    dynamodb_server: Server, container: Server, issuer: Issuer
) -> None:
    issuer.open.clear()
    ours = DataPlane()
    async with heartbeat() as heart:
        task = asyncio.create_task(ours.request("GetItem", GET))
        await until(lambda: container.seen)
        beats = heart.beats
        await until(lambda: heart.beats > beats + 5)
        assert not task.done()
        await ours.close()
        with pytest.raises(RuntimeError, match="closed"):
            await task
    assert dynamodb_server.seen == []
