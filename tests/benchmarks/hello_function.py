"""The bare function that cold starts are compared with: FastAPI, Mangum and a DynamoDB client, and nothing else."""

from __future__ import annotations

from typing import Any

import boto3
from fastapi import FastAPI
from mangum import Mangum

app = FastAPI()
client: Any = boto3.client("dynamodb")


@app.get("/hello")
def hello() -> dict[str, str]:
    """Say hello."""
    return {"hello": "world"}


handler = Mangum(app, lifespan="off")
