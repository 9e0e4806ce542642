"""``cluster.yaml`` through ``ray up`` against a simulated EC2, and the fallback from spot.

EC2 is moto's server, which lacks placement groups and drops the EFA type of an interface.
Ray's requests are therefore also validated against botocore's model of the API.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from moto.server import ThreadedMotoServer
from ray.autoscaler._private import commands
from ray.autoscaler._private.autoscaler import StandardAutoscaler
from ray.autoscaler._private.aws import node_provider, utils
from ray.autoscaler._private.load_metrics import LoadMetrics

from tests.helpers.clone import CLONE, free_port

TEXT = (CLONE / "cluster.yaml").read_text()
REGION = "us-west-2"
KEYS_OF_RAY = {"SubnetIds"}
"""Keys that Ray removes from a node's configuration before the request to EC2."""


@pytest.fixture(scope="module")
def ec2() -> Iterator[Any]:
    """Start a simulated EC2, which the environment names."""
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "simulated")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "simulated")
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        # Ray caches its clients with their endpoint.
        utils.resource_cache.cache_clear()
        utils.client_cache.cache_clear()
        try:
            yield boto3.client("ec2", REGION)
        finally:
            utils.resource_cache.cache_clear()
            utils.client_cache.cache_clear()
            server.stop()


@pytest.fixture(scope="module")
def config(ec2: Any) -> dict[str, Any]:
    """Return the file with the marked lines set to resources of the simulated account."""
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="longwave", Description="own", VpcId=network)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    iam = boto3.client("iam")
    iam.create_instance_profile(InstanceProfileName="longwave-worker")
    # Ray would create this one, and wait half a minute until it is visible in AWS.
    iam.create_instance_profile(InstanceProfileName="ray-autoscaler-v1")
    iam.create_role(RoleName="ray-autoscaler-v1", AssumeRolePolicyDocument="{}")
    iam.add_role_to_instance_profile(
        InstanceProfileName="ray-autoscaler-v1", RoleName="ray-autoscaler-v1"
    )
    text = TEXT
    for placeholder, value in {
        "ami-00000000000000000": image,
        "subnet-00000000000000000": subnet,
        "sg-00000000000000000": group["GroupId"],
        "YOUR-PROFILE": "longwave-worker",
    }.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a home folder for Ray's keys, with a token in it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text("0" * 64)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def bootstrapped(config: dict[str, Any], home: Path) -> dict[str, Any]:
    """Return the configuration that `ray up` leaves for the head's autoscaler."""
    return commands._bootstrap_config(config, no_config_cache=True)


def instances(ec2: Any, kind: str) -> list[dict[str, Any]]:
    """Return the running instances of one node type."""
    filters = {"tag:ray-user-node-type": [kind], "instance-state-name": ["pending", "running"]}
    found = ec2.describe_instances(
        Filters=[{"Name": name, "Values": values} for name, values in filters.items()]
    )["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


@pytest.fixture(autouse=True)
def no_workers_stay(ec2: Any) -> Iterator[None]:
    yield
    for kind in ("a100_spot", "a100_on_demand"):
        for instance in instances(ec2, kind):
            ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])


def tags(instance: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def test_ray_up_launches_the_head_that_the_file_asks_for(ec2, config, home, tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    words = ["-c", "from ray.scripts.scripts import main; main()", "up", "--yes"]
    command = [sys.executable, *words, "--no-config-cache", str(file)]
    with subprocess.Popen(
        command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = []
        for line in process.stdout:
            output.append(line)
            # The next step waits for an ssh server, which moto lacks.
            if "Waiting for SSH" in line:
                break
        process.kill()
    (head,) = instances(ec2, "head") or pytest.fail("".join(output))
    node = config["available_node_types"]["head"]["node_config"]
    assert head["InstanceType"] == "m6i.4xlarge"
    assert head["ImageId"] == node["ImageId"]
    assert head["SubnetId"] == node["SubnetIds"][0]
    assert [group["GroupId"] for group in head["SecurityGroups"]] == node["SecurityGroupIds"]
    assert "InstanceLifecycle" not in head
    assert (
        tags(head).items()
        >= {
            "ray-cluster-name": "longwave",
            "ray-node-type": "head",
            "project": "longwave",
        }.items()
    )
    assert (home / ".ssh" / f"ray-autoscaler_{REGION}.pem").exists()


@pytest.mark.parametrize(("kind", "lifecycle"), [("a100_spot", "spot"), ("a100_on_demand", None)])
def test_the_provider_launches_the_workers_that_the_file_asks_for(
    ec2, bootstrapped, kind, lifecycle
):
    provider = node_provider.AWSNodeProvider(bootstrapped["provider"], "longwave")
    node = bootstrapped["available_node_types"][kind]["node_config"]
    labels = {"ray-node-type": "worker", "ray-user-node-type": kind, "ray-node-name": "worker"}
    provider.create_node(node, labels, 1)
    (worker,) = instances(ec2, kind)
    assert worker["InstanceType"] == "p4d.24xlarge"
    assert worker.get("InstanceLifecycle") == lifecycle
    assert worker["IamInstanceProfile"]["Arn"].endswith("longwave-worker")
    wanted = node["NetworkInterfaces"][0]
    for interface in worker["NetworkInterfaces"]:
        assert interface["SubnetId"] == wanted["SubnetId"]
        assert [group["GroupId"] for group in interface["Groups"]] == wanted["Groups"]
    assert tags(worker).items() >= {"ray-cluster-name": "longwave", "project": "longwave"}.items()


def test_ray_counts_eight_gpus_on_both_kinds_of_workers(bootstrapped):
    kinds = bootstrapped["available_node_types"]
    assert kinds["a100_spot"]["resources"] == kinds["a100_on_demand"]["resources"]
    assert kinds["a100_spot"]["resources"]["GPU"] == 8
    assert "GPU" not in kinds["head"]["resources"]


def wrong_in_request(node: dict[str, Any]) -> str:
    """Return botocore's errors for a node's configuration as a request; Ray accepts any key."""
    request = {name: value for name, value in node.items() if name not in KEYS_OF_RAY}
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model("RunInstances").input_shape
    request |= {"MinCount": 1, "MaxCount": 1}
    return ParamValidator().validate(request, shape).generate_report()


@pytest.mark.parametrize("kind", ["head", "a100_on_demand", "a100_spot"])
def test_ec2_accepts_every_key_of_a_node_request(kind):
    node = yaml.safe_load(TEXT)["available_node_types"][kind]["node_config"]
    assert not wrong_in_request(node)
    assert "InstanceTypo" in wrong_in_request({**node, "InstanceTypo": "p4d.24xlarge"})


def test_the_four_network_cards_have_an_efa_interface_each():
    node = yaml.safe_load(TEXT)["available_node_types"]["a100_spot"]["node_config"]
    places = [
        (card["NetworkCardIndex"], card["DeviceIndex"], card["InterfaceType"])
        for card in node["NetworkInterfaces"]
    ]
    assert places == [(0, 0, "efa"), (1, 1, "efa"), (2, 1, "efa"), (3, 1, "efa")]
    assert not {"SubnetIds", "SecurityGroupIds"} & node.keys()


def no_spot_capacity(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
    """Answer a spot request with missing capacity; None lets the request through."""
    if params["body"].get("InstanceMarketOptions.MarketType") != "spot":
        return None
    error = {"Code": "InsufficientInstanceCapacity", "Message": "no p4d.24xlarge here"}
    return SimpleNamespace(status_code=500), {"Error": error}


@pytest.fixture
def autoscaler(ec2, bootstrapped, monkeypatch) -> StandardAutoscaler:
    """Return the head's autoscaler with a demand of eight GPUs; it logs in to no node."""
    (start,) = [line for line in bootstrapped["head_start_ray_commands"] if "ray start" in line]
    exported = dict(word.split("=", 1) for word in shlex.split(start) if "=" in word)
    name = "RAY_AUTOSCALER_UTILIZATION_SCORER"
    monkeypatch.setenv(name, exported[name])
    mounted = {remote: local for remote, local in bootstrapped["file_mounts"].items()}
    monkeypatch.syspath_prepend(CLONE / mounted[exported["PYTHONPATH"].rstrip(";")])
    provider = {"disable_node_updaters": True, "foreground_node_launch": True}
    config = {**bootstrapped, "provider": {**bootstrapped["provider"], **provider}}
    demand = LoadMetrics()
    demand.set_resource_requests([{"GPU": 1, "CPU": 8}] * 8)
    return StandardAutoscaler(lambda: config, demand, gcs_client=None, update_interval_s=0)


def test_spot_is_asked_first(ec2, autoscaler):
    autoscaler.update()
    assert len(instances(ec2, "a100_spot")) == 1
    assert not instances(ec2, "a100_on_demand")


@pytest.mark.fault(
    "Nodes and networks", "there is no spot capacity", "on-demand nodes are requested"
)
def test_without_spot_capacity_the_next_try_is_on_demand(ec2, autoscaler):
    events = autoscaler.provider.ec2_fail_fast.meta.client.meta.events
    events.register("before-call.ec2.RunInstances", no_spot_capacity)
    try:
        autoscaler.update()
        refused = autoscaler.node_provider_availability_tracker.summary().node_availabilities
        assert not refused["a100_spot"].is_available
        assert not instances(ec2, "a100_spot")
        autoscaler.update()
        assert len(instances(ec2, "a100_on_demand")) == 1
    finally:
        events.unregister("before-call.ec2.RunInstances", no_spot_capacity)
