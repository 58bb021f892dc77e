"""A W&B server for tests: enough of its API on loopback for runs, history and artifacts to arrive.

What arrives is kept in plain dictionaries. `fault` makes it answer 500 or not at all.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, cast

Json = dict[str, Any]
Fault = Literal["500", "hang"]


class WandbServer:
    """Runs by id, their history lines, artifacts, uploaded files, and who used what."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.requests = 0
        self.sent: list[bytes] = []
        self.runs: dict[str, Json] = {}
        self.history: dict[str, list[Json]] = {}
        self.finished: dict[str, int] = {}
        self.artifacts: list[Json] = []
        self.alerts: list[Json] = []
        self.views: dict[str, Json] = {}
        self.used: list[tuple[str, str]] = []
        self.files: dict[str, bytes] = {}
        self.released = threading.Event()
        self.url = ""

    def answer(self, operation: str, asked: Json) -> Json:
        known = getattr(self, f"_{operation}", None)
        return known(asked) if known else {}

    def _RunResumeStatus(self, asked: Json) -> Json:
        run = self.runs.get(asked["name"])
        lines = self.history.get(asked["name"], [])
        bucket = run and {
            "id": asked["name"],
            "name": asked["name"],
            "summaryMetrics": "{}",
            "displayName": run["displayName"],
            "logLineCount": 0,
            "historyLineCount": len(lines),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in lines[-1:]]),
            "eventsTail": "[]",
            "config": run["config"] or "{}",
            "tags": [],
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {"id": "p", "name": "rlhf", "entity": ENTITY, "bucket": bucket}}

    def _UpsertBucket(self, asked: Json) -> Json:
        inserted = asked["name"] not in self.runs
        kept = self.runs.setdefault(asked["name"], {})
        kept.update({key: value for key, value in asked.items() if value or key not in kept})
        bucket = {
            "id": asked["name"],
            "name": asked["name"],
            "displayName": kept["displayName"],
            "description": None,
            "config": kept["config"],
            "sweepName": None,
            "project": {"id": "p", "name": asked["project"], "entity": ENTITY},
            "historyLineCount": len(self.history.get(asked["name"], [])),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _ServerFeaturesQuery(self, asked: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def _Viewer(self, asked: Json) -> Json:
        viewer = {"id": "u", "entity": "team", "username": "user", "email": "", "flags": "{}"}
        return {"viewer": {**viewer, "teams": {"edges": []}}}

    def _GetDefaultEntity(self, asked: Json) -> Json:
        return {"viewer": {"id": "u", "entity": "team"}}

    def _CreateArtifact(self, asked: Json) -> Json:
        wanted = asked["input"]
        same = ("artifactCollectionName", "digest")
        for artifact in self.artifacts:
            if all(artifact[key] == wanted[key] for key in same):
                return {"createArtifact": {"artifact": _artifact(artifact)}}
        artifact = {**wanted, "id": f"artifact-{len(self.artifacts)}", "state": "PENDING"}
        self.artifacts.append(artifact)
        return {"createArtifact": {"artifact": _artifact(artifact)}}

    def _CreateArtifactManifest(self, asked: Json) -> Json:
        upload = f"{self.url}/manifest/{asked['artifactID']}"
        file = {"id": "f", "uploadUrl": upload, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _CreateArtifactFiles(self, asked: Json) -> Json:
        edges = [
            {
                "node": {
                    "storagePath": file["name"],
                    "uploadUrl": f"{self.url}/artifact/{file['artifactID']}/{file['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": file["artifactID"]},
                }
            }
            for file in asked["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, asked: Json) -> Json:
        (artifact,) = [a for a in self.artifacts if a["id"] == asked["artifactID"]]
        artifact["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact["id"], "digest": "d"}}}

    def _CreateRunFiles(self, asked: Json) -> Json:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/run/{asked['run']}/{name}"}
            for name in asked["files"]
        ]
        made = {"runID": asked["run"], "uploadHeaders": [], "files": files}
        return {"createRunFiles": made}

    def _NotifyScriptableRunAlert(self, asked: Json) -> Json:
        self.alerts.append(asked)
        return {"notifyScriptableRunAlert": {"success": True}}

    def _UpsertView2(self, asked: Json) -> Json:
        self.views[asked["name"]] = asked
        return {"upsertView": {"view": {"id": "v", "name": asked["name"]}, "inserted": True}}

    def _UseArtifact(self, asked: Json) -> Json:
        wanted = asked["input"]
        self.used.append((wanted["runName"], wanted["artifactID"]))
        return {"useArtifact": {"artifact": {"id": wanted["artifactID"]}}}


ENTITY = {"id": "e", "name": "team"}


def _artifact(artifact: Json) -> Json:
    return {
        "id": artifact["id"],
        "state": artifact["state"],
        "artifactSequence": {"id": "s", "latestArtifact": None},
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: WandbServer

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionResetError, BrokenPipeError):
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.requests += 1
        self.state.sent.append(body)
        if self.state.fault == "hang":
            self.state.released.wait(60)
        if self.state.fault:
            return self._send(500, {"error": "out of order"})
        if self.path.endswith("/graphql"):
            asked = json.loads(body)
            named = re.match(r"\s*(?:query|mutation)\s+(\w+)", asked["query"])
            operation = asked.get("operationName") or (named[1] if named else "")
            answer = self.state.answer(operation, asked.get("variables") or {})
            return self._send(200, {"data": answer})
        if self.path.endswith("/file_stream"):
            self._stream(self.path.split("/")[-2], json.loads(body))
            return self._send(200, {})
        return self._send(200, {})

    def _stream(self, run: str, sent: Json) -> None:
        chunk = sent.get("files", {}).get("wandb-history.jsonl")
        if chunk:
            lines = self.state.history.setdefault(run, [])
            lines[chunk["offset"] :] = [json.loads(line) for line in chunk["content"]]
        if sent.get("complete"):
            self.state.finished[run] = sent["exitcode"]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.files[self.path] = body
        self.state.sent.append(self.path.encode() + b"\n" + body)
        self._send(200, {})

    def do_GET(self) -> None:
        if self.path.startswith("/break/"):
            fault = self.path.removeprefix("/break/")
            self.state.fault = None if fault == "none" else cast("Fault", fault)
            self.state.released.set()
            self.state.released = threading.Event()
        self._send(200, {})

    def _send(self, code: int, value: Json) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def wandb_server(fault: Fault | None = None) -> Iterator[WandbServer]:
    """A server that runs for the length of the block."""
    state = WandbServer(fault)
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield state
        finally:
            state.released.set()
            server.shutdown()
