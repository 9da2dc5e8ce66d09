"""The receiver that one would otherwise write: Starlette, the same checks of the signature, one row and one transaction
a request. It knows no suppressed people, no limits, and nothing else to do.

    python -m benchmarks.peers.receiver        by BRIDGE_DATABASE_URL, BRIDGE_WEB__PORT and the webhook secret
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from datetime import UTC, datetime

import uvicorn
from sqlalchemy import create_engine, event, text
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SECRET = os.environ["BRIDGE_ONVOARD__WEBHOOK_SECRET"].encode()
ENGINE = create_engine(
    os.environ["BRIDGE_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"),
    connect_args={"timeout": 30} if os.environ["BRIDGE_DATABASE_URL"].startswith("sqlite") else {},
)
KEEP = text(
    "INSERT INTO webhook_events (id, platform, type, status, payload, received_at, subject)"
    " VALUES (:id, :platform, :type, 'pending', :payload, :at, :subject) ON CONFLICT DO NOTHING"
)
if ENGINE.dialect.name == "sqlite":

    @event.listens_for(ENGINE, "connect")
    def _configure(connection: object, _record: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")  # type: ignore[attr-defined]


def keep(row: dict[str, object]) -> None:
    with ENGINE.begin() as connection:
        connection.execute(KEEP, row)


async def onvoard(request: Request) -> JSONResponse:
    body = await request.body()
    mac = hmac.new(SECRET, body, hashlib.sha1).hexdigest()
    if not hmac.compare_digest(f"sha1={mac}", request.headers.get("x-hub-signature", "")):
        return JSONResponse({"error": "signature"}, 401)
    told = json.loads(body)
    return await _stored(told["id"], "onvoard", told["type"], body, told["data"]["contact"]["id"])


async def digital_onboarding(request: Request) -> JSONResponse:
    body = await request.body()
    said = dict(part.split("=", 1) for part in request.headers.get("x-signature", "").split(","))
    mac = hmac.new(SECRET, said["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mac, said["s0"]):
        return JSONResponse({"error": "signature"}, 401)
    told = json.loads(body)
    key = "do_" + hashlib.sha256(said["t"].encode() + b"." + body).hexdigest()
    return await _stored(key, "digital_onboarding", told["type"], body, told["contact_id"])


async def _stored(key: str, platform: str, type_: str, body: bytes, subject: str) -> JSONResponse:
    row = {"id": key, "platform": platform, "type": type_, "payload": body.decode(), "subject": subject}
    await run_in_threadpool(keep, row | {"at": datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")})
    return JSONResponse({"status": "stored"})


app = Starlette(
    routes=[
        Route("/webhooks/onvoard", onvoard, methods=["POST"]),
        Route("/webhooks/digital-onboarding", digital_onboarding, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["BRIDGE_WEB__PORT"]), log_level="warning", access_log=False)
