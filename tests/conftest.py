"""Fixtures of all tests. One Ray serves the session; the first test that needs it starts it."""

import os
import secrets
from collections.abc import Iterator

# Ray reads it when it is imported: its nodes on this machine take the loopback address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import hypothesis
import pytest
from pyarrow import fs

from datasets.manifest import Corpus
from datasets.prepare import prepare_corpus
from datasets.storage import Folder
from scaling.cluster import ray_cluster
from scaling.config import load
from scaling.config.run_config import RunConfig
from scaling.orchestration.train import make_job, train
from tests.helpers.clone import CLONE, free_port
from tests.helpers.runs import small_run

# A loaded machine is slow at times; no property test is about time.
hypothesis.settings.register_profile("longwave", deadline=None)
hypothesis.settings.load_profile("longwave")

SESSION_ENVIRONMENT = {
    **ray_cluster.ENVIRONMENT,
    **ray_cluster.EMBEDDED,
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "DS_ACCELERATOR": "cpu",
    # Workers and child processes import datasets, model and scaling from the clone.
    "PYTHONPATH": str(CLONE),
}


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """Return the port of a simulated S3, which ``bucket`` starts.

    It is in Ray's environment, so that workers find the S3 that a later test starts.
    """
    port = free_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "simulated")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "simulated")
        environment.setenv("AWS_REGION", "us-east-1")
        yield port


@pytest.fixture(scope="session")
def bucket(s3_port: int) -> Iterator[str]:
    """Return the URI of a bucket of a simulated S3 on this machine."""
    # The import takes a second, and few tests need it.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", s3_port, verbose=False)
    server.start()
    try:
        system, path = fs.FileSystem.from_uri("s3://longwave?allow_bucket_creation=true")
        system.create_dir(path)
        yield f"s3://{path}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory, s3_port: int) -> Iterator[str]:
    """Start a local Ray with four logical CPUs and return its address, also in RAY_ADDRESS.

    Workers inherit the raylet's environment, so it is set before Ray starts.
    """
    token_file = tmp_path_factory.mktemp("ray") / "auth_token"
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as environment:
        for name, value in SESSION_ENVIRONMENT.items():
            environment.setenv(name, value)
        # Without a token of its own the session would write one into the user's home.
        environment.setenv("RAY_AUTH_TOKEN_PATH", str(token_file))
        with ray_cluster.ray_session(cpus=4) as address:
            yield address


@pytest.fixture(scope="session")
def embedded_corpus(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Prepare the recording that ships with the project as the demo study does."""
    asked = load.corpus(CLONE / "configs/corpora/embedded.yaml").preparation()
    destination = tmp_path_factory.mktemp("corpora") / "embedded"
    return prepare_corpus(asked, Folder.of(CLONE), Folder.of(destination))


@pytest.fixture(scope="session")
def chunks_run(embedded_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Train a small run to its end, with targets that see from 1 to 8 chunks."""
    changes = {"model__attention": "causal", "windows__targets": "chunks", "train__steps": 40}
    changes |= {"windows__per_window": 8, "train__checkpoint_every": 40, "validation__every": 40}
    config = small_run(embedded_corpus, tmp_path_factory.mktemp("chunks"), **changes)
    train(make_job(config, {}))
    return config
