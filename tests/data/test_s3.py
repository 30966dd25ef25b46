"""A data root in S3, read from a real server of this machine (moto's), as a user would."""

import pickle
import socket

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from lensjax import configuration
from lensjax.checks.cache import checks_digest
from lensjax.checks.catalogues import check_anchors
from lensjax.data.paths import open_filesystem
from lensjax.data.source import open_source
from lensjax.data.stampset import content_digest
from lensjax.schema import ExitCode, LensjaxError

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Address and credentials of the store, as users set them; none of this machine's own."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in SECRETS:
        monkeypatch.setenv(name, "test")
    S3FileSystem.clear_instance_cache()
    yield monkeypatch
    S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def server():
    """The address of a store on this machine, gone with the tests."""
    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture
def bucket(server, environment):
    """The bucket named bucket, empty, as boto3 sees it."""
    environment.setenv("AWS_ENDPOINT_URL", server)
    store = boto3.resource("s3")
    made = store.create_bucket(Bucket="bucket")
    yield made
    made.objects.delete()
    made.delete()
    store.meta.client.close()


@pytest.fixture
def uploaded(bucket, small_set):
    """The root of a small Parquet set, and the same files in the bucket."""
    root = small_set.write(files=2)
    for path in sorted(root.rglob("*.parquet")):
        bucket.upload_file(str(path), f"sets/{path.relative_to(root)}")
    return root


def source_of(root, cache):
    overrides = [("data.root", str(root)), ("data.cache_dir", str(cache))]
    config = configuration.load_config("configs/b3.py:tiny", overrides)
    return open_source(config.data, config.population)


def test_a_root_in_s3_is_read_as_one_on_disk(uploaded, tmp_path):
    local = source_of(uploaded, tmp_path / "cache")
    remote = source_of("s3a://bucket/sets", tmp_path / "cache")
    assert remote.digest() == local.digest()
    assert source_of("s3://bucket/sets", tmp_path / "cache").digest() == local.digest()
    for split in local.splits():
        there = remote.read(split, findings=None)
        assert len(there) and content_digest(there) == content_digest(local.read(split, None))


def test_a_replaced_object_is_seen(bucket, uploaded, tmp_path):
    """In one process: D19 asks again at every epoch."""
    before = source_of("s3a://bucket/sets", tmp_path / "cache").digest()
    bucket.put_object(Key="sets/test/test-000.parquet", Body=b"something else")
    filesystem, _ = open_filesystem("s3a://bucket/sets")
    assert filesystem.info("bucket/sets/test/test-000.parquet")["size"] == 14
    with pytest.raises(LensjaxError, match=r"test-000\.parquet.*not a Parquet file"):
        source_of("s3a://bucket/sets", tmp_path / "cache").read("test", findings=None)
    assert source_of("s3a://bucket/sets", tmp_path / "cache").digest() != before
    remembering = S3FileSystem()  # the default, listings remembered: it is not seen
    remembering.ls("bucket/sets/test")
    bucket.put_object(Key="sets/test/test-000.parquet", Body=b"yet another thing")
    assert remembering.info("bucket/sets/test/test-000.parquet")["size"] == 14


def test_worker_processes_can_be_given_the_filesystem(uploaded):
    filesystem, root = open_filesystem("s3a://bucket/sets")
    again = pickle.loads(pickle.dumps(filesystem))
    assert len(again.find(root)) == 6


@pytest.fixture
def anchors(bucket, tmp_path):
    """A catalogue of eight anchors on disk, and the same in the bucket."""
    path = tmp_path / "anchors.csv"
    lines = [f"lens{k},{10 + 0.1 * k},-5,{0.6 + 0.1 * k}" for k in range(8)]
    path.write_text("\n".join(["name,ra,dec,theta_e_arcsec", *lines]) + "\n")
    bucket.upload_file(str(path), "lists/anchors.csv")
    return path


def test_a_catalogue_in_s3_is_checked_as_one_on_disk(bucket, anchors):
    def outcome(path):
        return check_anchors(path, minimum=8, min_theta_e_arcsec=0.5)

    def digest(path):
        return checks_digest(proportions=None, simulated=False, anchors=path)

    address = "s3a://bucket/lists/anchors.csv"
    assert outcome(address).counts == outcome(str(anchors)).counts
    assert outcome(address).counts["usable"] == 8
    assert digest(address) == digest(str(anchors))
    bucket.put_object(Key="lists/anchors.csv", Body=anchors.read_bytes().replace(b"0.6", b"0.7"))
    assert digest(address) != digest(str(anchors))
    (found,) = outcome("s3://bucket/lists/none.csv").findings
    assert (found.severity, found.code) == ("ERROR", ExitCode.DATA_INVALID)
    assert found.message == "cannot be read (no such file)"


def test_a_store_of_a_catalogue_that_does_not_let_us_in(bucket, anchors, environment):
    for name in SECRETS:
        environment.delenv(name)
    S3FileSystem.clear_instance_cache()
    with pytest.raises(LensjaxError, match="NoCredentialsError") as caught:
        check_anchors("s3a://bucket/lists/anchors.csv", minimum=8, min_theta_e_arcsec=0.5)
    assert caught.value.code == ExitCode.RESOURCE


def test_a_root_that_is_not_there(bucket, tmp_path):
    for root in ("s3a://bucket/nowhere", "s3a://no-such-bucket/sets"):
        with pytest.raises(LensjaxError, match="no such directory") as caught:
            source_of(root, tmp_path / "cache")
        assert caught.value.code == ExitCode.USAGE and root in caught.value.where


def test_a_store_that_does_not_let_us_in(bucket, environment):
    for name in SECRETS:
        environment.delenv(name)
    with pytest.raises(LensjaxError, match="cannot be read: NoCredentialsError") as caught:
        open_filesystem("s3a://bucket/sets")
    assert caught.value.code == ExitCode.RESOURCE and "credentials" in caught.value.remedy


def test_a_store_that_does_not_answer(environment):
    with socket.socket() as bound:  # never listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bound.getsockname()[1]}")
        environment.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(LensjaxError, match="cannot be read: EndpointConnectionError"):
            open_filesystem("s3a://bucket/sets")
