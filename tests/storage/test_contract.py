"""What every store must do: local folder, R2 over a real S3, ImgBB's stand-in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ghibli_flask.clock import Clock
from ghibli_flask.storage import FileMissing, Store, StoreError
from ghibli_flask.storage.imgbb import ImgBBStore
from ghibli_flask.storage.local import LocalStore
from ghibli_flask.storage.s3 import Account, Bounds, S3Store
from tests.support.s3_server import BUCKET
from tests.support.standins.imgbb import EMPTY, KEY, RATE_LIMIT, TOO_LARGE, UPLOAD, WRONG_KEY, ImgBBStandIn
from tests.support.standins.r2 import R2StandIn
from tests.support.standins.server import Reply, json_reply

ONCE = Bounds(connect_s=5, request_s=10, retries=0, retry_for_s=1)
RESULT = "results/0a/" + "5" * 32 + ".jpg"


def s3_store(r2: R2StandIn, endpoint: str | None = None, bucket: str = BUCKET, bounds: Bounds = ONCE) -> S3Store:
    """The store of an R2."""
    return S3Store(Account(endpoint or r2.url, bucket, "a" * 32, "b" * 64), bounds)


def in_two_days() -> datetime:
    """An end for what ImgBB keeps."""
    return datetime.now(UTC) + timedelta(days=2)


@pytest.fixture(params=["local", "r2", "imgbb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store, empty."""
    match request.param:
        case "local":
            return LocalStore(tmp_path / "files")
        case "r2":
            return s3_store(request.getfixturevalue("r2"))
    return ImgBBStore(request.getfixturevalue("imgbb").url + UPLOAD, KEY, Clock())


@pytest.fixture(params=["local", "r2", "imgbb"])
def broken_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store when it is out of order: a file where the folder should be, nobody at the address."""
    nobody = "http://127.0.0.1:1"
    match request.param:
        case "local":
            (tmp_path / "files").write_text("in the way")
            yield LocalStore(tmp_path / "files")
        case "r2":
            yield S3Store(Account(nobody, BUCKET, "a" * 32, "b" * 64), ONCE)
        case _:
            yield ImgBBStore(nobody + UPLOAD, KEY, Clock())


def test_what_is_written_is_read(store: Store) -> None:
    """The bytes come back as they were, under the key that the store gave."""
    data = bytes(range(256)) * 1000
    key = store.write(RESULT, data, in_two_days())
    assert store.read(key) == data
    assert len(key) <= 160
    store.probe()


def test_a_missing_file_is_told_apart(store: Store) -> None:
    """A file that is not there is FileMissing, and not a failure of the store."""
    with pytest.raises(FileMissing):
        store.read(RESULT)
    with pytest.raises(FileMissing):
        store.read("1800000000/a/b/c/d.jpg")


def test_deleting_twice_is_no_error(store: Store) -> None:
    """After a deletion the file is gone, unless the store says when it goes by itself; a second one is no error."""
    key = store.write(RESULT, b"x", in_two_days())
    store.delete(key)
    store.delete(key)
    expiry = store.expiry_of(key)
    if expiry is None:
        with pytest.raises(FileMissing):
            store.read(key)
    else:
        assert abs(expiry - in_two_days()) < timedelta(seconds=5)
        assert (store.delete_page(key) or "").startswith("https://ibb.co/")


def test_many_threads_share_a_store(store: Store) -> None:
    """Sixteen writers and readers at once get each their own bytes."""
    wrong = []

    def work(number: int) -> None:
        data = bytes([number]) * 5000
        key = store.write(f"results/0a/{number:032x}.jpg", data, in_two_days())
        if store.read(key) != data:
            wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_every_failure_is_a_store_error(broken_store: Store) -> None:
    """A store that is out of order says so in one line, whatever it is asked."""
    asked: list[Callable[[], object]] = [
        lambda: broken_store.write(RESULT, b"x", in_two_days()),
        lambda: broken_store.read("1800000000/a/b/c/d.jpg"),
        broken_store.probe,
    ]
    for ask in asked:
        with pytest.raises(StoreError) as caught:
            ask()
        assert type(caught.value) is StoreError
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["../outside.jpg", "results/../../outside.jpg", "/etc/outside.jpg", ""])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    """Whatever a key says, nothing is written, read or deleted beside the folder."""
    beside = tmp_path / "outside.jpg"
    beside.write_text("mine")
    store = LocalStore(tmp_path / "files")
    for ask in (lambda: store.write(key, b"x"), lambda: store.read(key), lambda: store.delete(key)):
        with suppress(StoreError):
            ask()
    assert beside.read_text() == "mine"
    assert not Path("/etc/outside.jpg").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"outside.jpg", "files"}


def test_what_a_killed_writer_left_goes_with_its_file(tmp_path: Path) -> None:
    """The half-written part of a file whose writer was killed is removed when its key is deleted."""
    store = LocalStore(tmp_path)
    half = tmp_path / f"{RESULT}#1"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half of a pict")
    store.delete(RESULT)
    assert not half.exists()


def test_a_local_file_is_never_overwritten(tmp_path: Path) -> None:
    """A key that is taken is refused."""
    store = LocalStore(tmp_path)
    store.write(RESULT, b"first")
    with pytest.raises(StoreError):
        store.write(RESULT, b"second")
    assert store.read(RESULT) == b"first"


@pytest.mark.parametrize("name", ["r2", "imgbb"])
def test_half_a_picture_is_none(r2: R2StandIn, imgbb: ImgBBStandIn, name: str) -> None:
    """A picture whose second half did not arrive is a failure of the store, and not a shorter picture."""
    store = s3_store(r2) if name == "r2" else imgbb_store(imgbb)
    key = store.write(RESULT, b"x" * 100_000, in_two_days())
    r2.faults = {"GET": "half_answer"}
    for path in imgbb.uploads:
        imgbb.next(path, Reply(b"x" * 100_000, manner="half"))
    with pytest.raises(StoreError) as caught:
        store.read(key)
    assert type(caught.value) is StoreError


# --- R2 ---


def test_r2_gets_nothing_that_it_refuses(r2: R2StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is one plain signed PUT with type and cache rules, whatever AWS variables other programs have set."""
    for name, value in (
        ("AWS_SESSION_TOKEN", "another program's"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
        ("AWS_REQUEST_PAYER", "true"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(name, value)
    store = s3_store(r2)
    store.write(RESULT, b"x" * 6_000_000)  # Beyond the size from which obstore sends parts.
    assert store.read(RESULT) == b"x" * 6_000_000
    store.delete(RESULT)
    assert [(method, path) for method, path, _ in r2.heard] == [
        (method, f"/{BUCKET}/{RESULT}") for method in ("PUT", "GET", "DELETE")
    ]
    sent = r2.heard[0][2]
    assert "/auto/s3/aws4_request" in sent["authorization"]
    assert (sent["content-type"], sent["cache-control"]) == ("image/jpeg", "private, max-age=31536000, immutable")


def test_the_door_is_as_strict_as_r2(r2: R2StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof above proves something: with a checksum header the same write is refused with 501."""
    monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "SHA256")
    with pytest.raises(StoreError, match="501 Not Implemented"):
        s3_store(r2).write(RESULT, b"x")


def test_a_missing_bucket_is_no_missing_file(r2: R2StandIn) -> None:
    """With a wrong bucket name nothing looks deleted: reading, writing and deleting fail."""
    store = s3_store(r2, bucket="another")
    asked: list[Callable[[], object]] = [
        lambda: store.write(RESULT, b"x"),
        lambda: store.read(RESULT),
        lambda: store.delete(RESULT),
    ]
    for ask in asked:
        with pytest.raises(StoreError) as caught:
            ask()
        assert type(caught.value) is StoreError


def test_r2_is_not_waited_for(r2: R2StandIn) -> None:
    """A request that R2 never answers ends by itself within its bounds."""
    r2.faults = {"PUT": "silence"}
    began = datetime.now(UTC)
    with pytest.raises(StoreError):
        s3_store(r2, bounds=Bounds(connect_s=0.5, request_s=0.5, retries=0, retry_for_s=1)).write(RESULT, b"x")
    assert datetime.now(UTC) - began < timedelta(seconds=5)


def test_a_worker_tries_again(r2: R2StandIn) -> None:
    """A patient store gets its file through an R2 that fails for a moment."""
    r2.faults = {"PUT": "error"}
    threading.Timer(0.15, r2.faults.clear).start()
    s3_store(r2, bounds=Bounds(connect_s=5, request_s=5, retries=4, retry_for_s=10)).write(RESULT, b"x")
    assert r2.s3.keys() == [RESULT]


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://0123456789abcdef.r2.cloudflarestorage.com", "auto"),
        ("https://0123456789abcdef.eu.r2.cloudflarestorage.com", "auto"),
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.amazonaws.com", "us-east-1"),
        ("https://minio.example.org:9000", "auto"),
    ],
)
def test_requests_are_signed_for_the_region_of_the_endpoint(r2: R2StandIn, endpoint: str, region: str) -> None:
    """R2 has the region auto, and Amazon the one in the name of its host."""
    address = s3_store(r2, endpoint=endpoint).signed_address(RESULT, "GET", timedelta(minutes=10))
    assert address is not None
    assert f"%2F{region}%2Fs3%2Faws4_request" in address
    assert address.startswith(f"{endpoint}/{BUCKET}/{RESULT}?")


# --- ImgBB ---


def imgbb_store(imgbb: ImgBBStandIn, key: str | None = KEY) -> ImgBBStore:
    """The store of an ImgBB."""
    return ImgBBStore(imgbb.url + UPLOAD, key, Clock())


def test_imgbb_gets_the_form_that_it_documents(imgbb: ImgBBStandIn) -> None:
    """Key, bare base64, name and expiration travel in the body, and the key stands in no address."""
    imgbb_store(imgbb).write(RESULT, b"\xff\xd8", in_two_days())
    (upload,) = imgbb.asked(UPLOAD)
    fields, _ = upload.form()
    assert upload.query == {}
    assert (fields["key"], fields["image"], fields["name"]) == (KEY, "/9g=", "5" * 32)
    assert 2 * 86400 - 5 <= int(fields["expiration"]) <= 2 * 86400


@pytest.mark.parametrize(
    ("kind", "days", "taken"),
    [
        ("results", 30, True),
        ("results", None, False),
        ("results", 181, False),
        ("sources", 7, False),
        ("cards", 7, False),
    ],
)
def test_imgbb_takes_results_with_an_end_alone(imgbb: ImgBBStandIn, kind: str, days: int | None, taken: bool) -> None:
    """No photograph goes there, nothing that is to be taken back, and nothing without an end."""
    assert imgbb_store(imgbb).takes(kind, timedelta(days=days) if days else None) is taken


REFUSALS = {
    "wrong key": WRONG_KEY,
    "rate limit": RATE_LIMIT,
    "empty": EMPTY,
    "page instead of JSON": TOO_LARGE,
    "page with 200": Reply(b"<html>", 200, "text/html"),
    "nothing told": json_reply({"data": None}),
    "elsewhere": json_reply({"data": {"url": "https://evil.example/a/b.jpg", "delete_url": "https://ibb.co/a/b"}}),
    "cut": Reply(b'{"data": {}}', manner="half"),
    "hang-up": Reply(manner="hang_up"),
}


@pytest.mark.parametrize("reply", REFUSALS.values(), ids=REFUSALS)
def test_every_refusal_of_imgbb_is_a_store_error(imgbb: ImgBBStandIn, reply: Reply) -> None:
    """Whatever comes back instead of an upload is one line for the log, without our key."""
    imgbb.next(UPLOAD, reply)
    with pytest.raises(StoreError) as caught:
        imgbb_store(imgbb).write(RESULT, b"x", in_two_days())
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_from_imgbb_is_bounded(imgbb: ImgBBStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than ImgBB takes, and a redirect, are not followed."""
    store = imgbb_store(imgbb)
    key = store.write(RESULT, b"x", in_two_days())
    path = next(iter(imgbb.uploads))
    monkeypatch.setattr("ghibli_flask.storage.imgbb.LARGEST", 1000)
    imgbb.next(path, Reply(b"x" * 2000), Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            store.read(key)
        assert type(caught.value) is StoreError
