"""The service against a bare loop over the same dehazer: requests per second, and their times.

    python benchmarks/service.py [--requests 80] [--clients 4] [--size 640x480]

Both read the same JPEG files, dehaze them and encode them again, one after the other in this
process; the clients are a process of their own. The bare loop is run before and after the service,
half of the requests each, so that a machine that grows slower or faster meanwhile counts for both.
On two cores it takes about a minute. The processor's time for a picture is printed too, which a
busy machine changes little.
"""

from __future__ import annotations

import argparse
import http.client
import io
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
from PIL import Image

from corun.data.scenes import render
from corun.dehazing.dehazer import Dehazer
from corun.dehazing.loading import load
from corun.physics.scattering import add_haze
from corun.pictures.reading import read_picture
from corun.pictures.writing import encode_picture
from corun.server.running import AppServer
from corun.server.service import create_service


def hazy_files(count: int, width: int, height: int) -> list[bytes]:
    """Rendered hazy scenes as JPEG files."""
    files = []
    for seed in range(count):
        scene = render(seed, height, width)
        t = np.exp(-4 * scene.depth)
        hazy = add_haze(scene.clean, t[..., None], np.full(3, 0.9, np.float32))
        pixels = np.rint(np.clip(hazy, 0, 1) * 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
        files.append(buffer.getvalue())
    return files


def bare_loop(dehazer: Dehazer, files: list[bytes], requests: int) -> float:
    """Pictures per second without any server."""
    start = time.perf_counter()
    for index in range(requests):
        picture = read_picture(files[index % len(files)], name="picture")
        result = dehazer.dehaze_picture(picture)
        encode_picture(result.storable_image(), result.metadata, "JPEG")
    return requests / (time.perf_counter() - start)


def crowd(port: int, files: list[bytes], requests: int, clients: int) -> tuple[float, list[float]]:
    """Answers per second, and the seconds of each request."""
    numbers = iter(range(requests))
    lock = threading.Lock()

    def client(_: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        seconds = []
        while True:
            with lock:
                index = next(numbers, None)
            if index is None:
                connection.close()
                return seconds
            start = time.perf_counter()
            connection.request("POST", "/v1/dehaze", files[index % len(files)])
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 200, reply.status
            seconds.append(time.perf_counter() - start)

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = [one for own in pool.map(client, range(clients)) for one in own]
    return requests / (time.perf_counter() - start), times


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--size", default="640x480")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    files = hazy_files(2, width, height)
    dehazer = load("corun-lite", device="cpu")
    bare_loop(dehazer, files, 4)
    half = max(1, options.requests // 2)
    had = time.process_time()
    before = bare_loop(dehazer, files, half)
    looped = (time.process_time() - had) / half
    app = create_service(lambda: {"corun-lite": dehazer})
    server = AppServer(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        arguments = (server.port, files)
        pool.submit(crowd, *arguments, 8, options.clients).result()
        had = time.process_time()
        rate, times = pool.submit(crowd, *arguments, options.requests, options.clients).result()
    served = (time.process_time() - had) / options.requests
    server.stop()
    thread.join()
    after = bare_loop(dehazer, files, half)
    bare = 2 / (1 / before + 1 / after)
    times.sort()
    print(f"{width}x{height}, {options.requests} requests of {options.clients} clients")
    print(f"bare loop  {bare:.2f} pictures/s ({before:.2f} before, {after:.2f} after)")
    print(f"service    {rate:.2f} requests/s, {rate / bare:.2f} of the loop (0.85 is asked for)")
    spent = f"{1000 * looped:.0f} ms a picture in the loop, {1000 * served:.0f} in the service"
    print(f"processor  {spent}")
    print(f"a request  median {1000 * statistics.median(times):.0f} ms, "
          f"99th percentile {1000 * times[int(0.99 * (len(times) - 1))]:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
