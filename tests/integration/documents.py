"""The pages under docs/ that show commands: they are run as they stand."""
import os
import re
import shutil
import subprocess

from harness import ROOT, Skip, case, check

BLOCK = re.compile(r"```bash\n(.*?)```\n(?:<!-- expect: (.*?) -->\n)?", re.S)
MARK = "----- end of block -----"


@case("docs/grpcurl.md: every block can be pasted, and prints what the page says")
def _(context):
    path = f"{ROOT}/build/tools/bin:{os.environ['PATH']}"
    if not shutil.which("grpcurl", path=path):
        raise Skip("grpcurl is not installed (tools/install-deps grpcurl)")
    server = context.server()
    page = (ROOT / "docs" / "grpcurl.md").read_text().replace("127.0.0.1:8081", server.endpoint)
    blocks = BLOCK.findall(page)
    check(len(blocks) > 10, len(blocks))
    script = "set -e -o pipefail\n" + f"\necho '{MARK}'\n".join(block for block, _ in blocks) + f"\necho '{MARK}'\n"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, timeout=300, check=False, cwd=context.dir,
                          env={**os.environ, "PATH": path, "DATA": str(server.data)})
    outputs = done.stdout.split(MARK + "\n")
    check(done.returncode == 0, f"status {done.returncode} in block {len(outputs)}: {blocks[min(len(outputs), len(blocks)) - 1][0]}\n{done.stderr}\n{outputs[-1]}")
    for (block, expected), output in zip(blocks, outputs):
        place = 0
        for text in expected.split(" | ") if expected else []:
            found = output.find(text, place)
            check(found >= 0, f"{text!r} is missing (in this order) in the output of:\n{block}\n{output[:3000]}")
            place = found + len(text)


@case("docs/grpcurl.md has a call of every RPC that is served")
def _(context):
    page = (ROOT / "docs" / "grpcurl.md").read_text()
    for file in ("apache/rocketmq/v2/service.proto", "fulmar/admin/v1/admin.proto"):
        for method in re.findall(r"^  rpc (\w+)\(", (ROOT / "protos" / file).read_text(), re.M):
            check(re.search(rf"(call|admin|tls|MessagingService/) ?{method}\b|Service/{method}\b", page), method, "is missing")


@case("docs/status-codes.md has every row of the table of errors, and no other")
def _(context):
    wanted = {(number, name, {"kNo": "no", "kLater": "later", "kAtOnce": "at once"}[retry])
              for name, number, retry in re.findall(r"X\(\w+, \w+, (\w+), (\d+), (\w+)\)", (ROOT / "services/common/errors.h").read_text())}
    rows = set(re.findall(r"^\| (\d+) \| (\w+) \| ([a-z ]+) \| .", (ROOT / "docs/status-codes.md").read_text(), re.M))
    check(wanted and wanted == {row for row in rows if row[0] not in ("20000", "30000")}, wanted ^ rows)
