"""A program's name: equal over its starts, ranks and machines, and another for another program."""

from __future__ import annotations

import pytest

from tuneonce.system.program import lasting, program_name

VLLM = "/usr/local/bin/vllm serve Qwen/Qwen3-8B --dtype bfloat16 --tensor-parallel-size 8"
SGLANG = (
    "/usr/lib/python3/dist-packages/sglang/launch_server.py --model-path Qwen/Qwen3-8B --tp-size 8"
)
RAY = (
    "/opt/ray/_private/workers/default_worker.py --node-manager-port={0} "
    "--object-store-name=/tmp/ray/session_{0}/sockets/plasma_store "
    "--raylet-name=/tmp/ray/session_{0}/sockets/raylet --redis-address=None "
    "--metrics-agent-port={0} --logging-rotate-bytes=536870912 --gcs-address=172.17.0.{0}:6379 "
    "--session-name=session_2026-01-0{0}_00-00-00_12 --node-ip-address=172.17.0.{0} "
    "--cluster-id=ab{0} --startup-token={0} --worker-launch-time-ms=170000000000{0} --node-id=a{0}"
)


def name(line: str) -> str:
    return program_name(line.split())


@pytest.mark.parametrize(
    "same",
    [
        # Servers: where they listen, what they are called, where they write.
        (VLLM, VLLM + " --port 8000", VLLM + " --host 0.0.0.0 --port=8001"),
        (VLLM, VLLM + " --seed 3", VLLM + " --seed=4 --api-key secret"),
        (VLLM, VLLM + " --node-rank 1 --master-addr 10.0.0.7 --master-port 29500"),
        (VLLM, VLLM + " --otlp-traces-endpoint http://collector:4317 --log-dir /var/log/x"),
        (SGLANG, SGLANG + " --dist-init-addr sgl-0:5000 --node-rank 1 --nccl-port 3000"),
        (SGLANG, SGLANG + " --random-seed 77 --host :: --port 30000"),
        # Ranks and times of torchrun and the like.
        ("train.py --lr 1e-4", "train.py --local-rank=3 --lr 1e-4", "train.py --lr 1e-4 --rank 2"),
        ("train.py", "train.py --output_dir out/7", "train.py --run-name x", "train.py --logdir=y"),
        ("train.py", "train.py --rdzv_id 5 --rdzv_endpoint h:1", "train.py --rdzv-endpoint=h:2"),
        # What looks like a value of one start, whatever it is called.
        ("x.py", "x.py /tmp/tmpab12/x", "x.py --a=/run/user/0/z"),
        ("x.py --cache /dev/shm/y --to [::1]:80", "x.py --cache /tmp/z --to [::2]:81"),
        ("x.py a", "x.py a 0f8fad5b-d9cb-469f-a165-70867728950e", "x.py a 1700000000"),
        ("x.py", "x.py tcp://127.0.0.1:5555", "x.py http://10.1.2.3/path", "x.py localhost:80"),
        ("x.py", "x.py d41d8cd98f00b204e9800998ecf8427e"),
        # The same file, in another place of another machine.
        ("/a/train.py --x 1", "train.py --x 1", "/b/c/train.py --x 1"),
        (RAY.format(1), RAY.format(2), RAY.format(3)),
    ],
)
def test_what_differs_from_start_to_start_is_left_out(same: tuple[str, ...]) -> None:
    assert len({name(line) for line in same}) == 1, [list(lasting(x.split())) for x in same]


@pytest.mark.parametrize(
    "different",
    [
        (VLLM, VLLM.replace("8B", "4B"), VLLM.replace("bfloat16", "float16")),
        (VLLM, VLLM.replace("size 8", "size 4"), VLLM + " --enforce-eager"),
        (VLLM, VLLM + " --max-model-len 4096", VLLM + " --quantization fp8"),
        (SGLANG, SGLANG.replace("8B", "4B"), SGLANG.replace("size 8", "size 4")),
        (SGLANG, SGLANG + " --attention-backend triton", SGLANG + " --kv-cache-dtype fp8_e5m2"),
        ("x.py --model /dev/shm/a", "x.py --model /dev/shm/b", "x.py --model=/tmp/a"),
        ("x.py --model-path /tmp/a", "x.py --model-path /tmp/b"),
        ("x.py --config=/run/a.yaml", "x.py --config /run/b.yaml"),
        ("x.py --draft-model a", "x.py --draft-model b", "x.py --tokenizer a"),
        ("train.py --lr 1", "train.py --lr 2", "eval.py --lr 1"),
        ("/a/x/main.py", "/a/y/main.py", "/a/x/run.py", "/a/y/__main__.py"),
        ("x.py train", "x.py eval", "x.py"),
    ],
)
def test_what_is_served_and_how_is_in_the_name(different: tuple[str, ...]) -> None:
    assert len({name(line) for line in different}) == len(different)


def test_an_option_without_a_value_hides_nothing_of_the_next() -> None:
    assert list(lasting(["--log", "--dtype", "bf16", "--seed", "--tp", "8"])) == [
        "--dtype",
        "bf16",
        "--tp",
        "8",
    ]
    assert list(lasting(["--seed", "5", "model", "--port=1", "other"])) == ["model", "other"]


@pytest.mark.parametrize(
    ("first", "program"),
    [
        ("/usr/bin/vllm", "vllm"),
        ("/x/sglang/launch_server.py", "sglang-launch_server"),
        ("/x/vllm/__main__.py", "vllm-__main__"),
        ("server.pyz", "server"),
        ("main.py", "main"),
        ("/a b/my prog.py", "my-prog"),
        ("-c", "python"),
        ("", "python"),
        ("-", "python"),
        ("/", "python"),
    ],
)
def test_the_name_begins_with_the_program(first: str, program: str) -> None:
    assert program_name([first]).split(" ")[0] == program
    assert program_name([]).split(" ")[0] == "python"


def test_code_tells_programs_apart_and_a_file_does_not_need_it() -> None:
    assert program_name(["-c"], "a()") != program_name(["-c"], "b()")
    assert program_name(["x.py"], "a()") == program_name(["x.py"])
    program_name(["x.py", "\udcff"])  # an argument that is no text
