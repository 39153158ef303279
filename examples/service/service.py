"""A service that keeps a stream for each client, over WebSockets:

    pip install drnn-deploy fastapi 'uvicorn[standard]'
    BUNDLE=stream-bundle uvicorn --factory service:app

A client opens /stream and sends binary messages: little-endian float32 samples, any whole number of them up to
`MOST_CHUNKS` chunks. Each is answered with the outputs of the chunks that became full, as JSON. Any other message
closes the connection with code 1007. The stream and its state end with the connection.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from drnn_deploy import DeployError
from drnn_models import Continuous
from drnn_runtimes import Bundle, Stream, find_runtime

MOST_CLIENTS = 1000
MOST_CHUNKS = 64  # in a message: other clients wait until they are computed


def app() -> FastAPI:
    """The service of the bundle that the variable BUNDLE names."""
    return make_app(Path(os.environ["BUNDLE"]))


def make_app(folder: Path) -> FastAPI:
    """Make a service.

    Args:
        folder: A bundle with a graph that has state, of batch 1 and a continuous input.
    """
    bundle = Bundle.open(folder)
    graph = next(graph for graph in bundle.graphs if graph.states)
    assert isinstance(bundle.spec.input, Continuous)
    features = bundle.spec.input.features
    clients: set[WebSocket] = set()

    @asynccontextmanager
    async def loaded(service: FastAPI) -> AsyncIterator[None]:
        with find_runtime("onnxruntime-cpu").load(bundle, graph) as session:  # one for all clients
            service.state.session = session
            yield

    service = FastAPI(lifespan=loaded)

    @service.get("/")
    def about() -> dict[str, int]:
        return {
            "features": features,
            "chunk": graph.steps,
            "outputs": bundle.spec.head.outputs,
            "clients": len(clients),
        }

    @service.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        if len(clients) >= MOST_CLIENTS:
            await socket.close(1013, "too many clients: try again later")
            return
        clients.add(socket)
        try:
            await _serve(socket, Stream(service.state.session, bundle, graph), features)
        except WebSocketDisconnect:
            pass
        finally:
            clients.discard(socket)

    return service


async def _serve(socket: WebSocket, stream: Stream, features: int) -> None:
    """Answer one client until it leaves, or sends what is no sample."""
    most = MOST_CHUNKS * stream.chunk
    while (received := await socket.receive())["type"] == "websocket.receive":
        message = received.get("bytes")
        if message is None or len(message) % (4 * features) or len(message) > most * 4 * features:
            await socket.close(1007, f"send bytes: at most {most} whole samples of {features} float32 numbers")
            return
        samples = np.frombuffer(message, "<f4").reshape(1, -1, features)
        try:
            outputs = stream.push(samples)  # here, not in a thread: a chunk takes microseconds
        except DeployError as error:  # not finite, or beyond the range; nothing was taken in
            await socket.close(1007, error.message[:100])
            return
        await socket.send_json(outputs[0].tolist())
