"""Routes that return a constant: what FastAPI and uvicorn alone can do."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response

app = FastAPI()
_reply = Path(os.environ["REPLY"]).read_bytes()


@app.post("/v1/search")
async def search(request: Request) -> Response:
    """Read the body, and give the same reply to all."""
    await request.body()
    return Response(_reply, media_type="application/json")


@app.get("/v1/products/{product}/similar")
async def similar(product: str) -> Response:
    """Give the same reply to all."""
    return Response(_reply, media_type="application/json", headers={"x-product": product})


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Say that imports are done."""
    return {"status": "ok"}
