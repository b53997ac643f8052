"""Answers requests with the browser module, in wasmtime:
    python check_wasmtime.py MODULE.wasm FOLDER     reads FOLDER/N.request, writes FOLDER/N.answer
needs: pip install wasmtime
"""
import os
import sys
import time

from wasmtime import Engine, Instance, Module, Store

file, folder = sys.argv[1:3]
engine = Engine()
store = Store(engine)
exports = Instance(store, Module.from_file(engine, file), []).exports(store)
memory = exports["memory"]


def call(request):
    at = exports["anthill_request"](store, len(request)) & 0xFFFFFFFF
    memory.write(store, request, at)
    length = exports["anthill_call"](store) & 0xFFFFFFFF
    start = exports["anthill_answer"](store) & 0xFFFFFFFF
    return memory.read(store, start, start + length)


n = 0
while os.path.exists(path := os.path.join(folder, f"{n}.request")):
    with open(path, "rb") as file:
        request = file.read()
    began = time.process_time()
    answer = call(request)
    print(n, f"{time.process_time() - began:.3f}")
    with open(os.path.join(folder, f"{n}.answer"), "wb") as file:
        file.write(answer)
    n += 1
