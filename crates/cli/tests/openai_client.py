"""Drives a node with the OpenAI Python client, unchanged: `openai_client.py BASE_URL TOKEN`."""

import asyncio
import math
import sys

import openai

MODEL = "anthill-static-256"
base_url, token = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=token, max_retries=0, timeout=30)


def cosine(a, b):
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return sum(x * y for x, y in zip(a, b)) / norm


def refused(kind, code, call):
    try:
        call()
    except kind as error:
        assert error.code == code, (error.code, code)
        assert error.body["message"], error.body
        return str(error)
    raise AssertionError(f"{kind.__name__} was expected")


# Models.
models = client.models.list()
assert MODEL in [model.id for model in models.data], models
assert client.models.retrieve(MODEL).owned_by == "anthill"
refused(openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("no-such-model"))

# One text; the client asks for base64 and decodes it.
one = client.embeddings.create(model=MODEL, input="a cat sits on the mat")
vector = one.data[0].embedding
assert one.object == "list" and one.model == MODEL and len(one.data) == 1, one
assert len(vector) == 256 and all(isinstance(x, float) for x in vector), vector
assert one.usage.prompt_tokens == one.usage.total_tokens > 0, one.usage

# A list keeps its order, and gives each text the vector that it has alone.
texts = ["a kitten is on the rug", "interest rates rise again", "a cat sits on the mat"]
many = client.embeddings.create(model=MODEL, input=texts)
assert [item.index for item in many.data] == [0, 1, 2], many
assert many.data[2].embedding == vector
near, far = (cosine(vector, many.data[i].embedding) for i in (0, 1))
assert near > far + 0.2, (near, far)

# Numbers and base64 are the same vector, to the bit.
floats = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
assert [item.embedding for item in floats.data] == [item.embedding for item in many.data]
assert client.embeddings.create(model=MODEL, input=texts[0], dimensions=256).data[0].embedding

# Shorter vectors are the first numbers, made unit length again.
short = client.embeddings.create(model=MODEL, input=texts[2], dimensions=64).data[0].embedding
norm = math.sqrt(sum(x * x for x in vector[:64]))
assert len(short) == 64 and max(abs(a - b / norm) for a, b in zip(short, vector)) < 1e-6
raw = client.embeddings.with_raw_response.create(model=MODEL, input=texts[2], dimensions=64)
assert raw.headers["anthill-truncated"] == "0"

# A large batch comes in pieces, in order, with the vectors that the texts have alone.
lines = [f"text number {i} is about {texts[i % 3]}" for i in range(2000)]
large = client.embeddings.create(model=MODEL, input=lines)
assert [item.index for item in large.data] == list(range(2000))
for i in (0, 1, 777, 1999):
    assert client.embeddings.create(model=MODEL, input=lines[i]).data[0].embedding == large.data[i].embedding
assert large.usage.prompt_tokens > 2000 and large.usage.model_extra["truncated"] == []
plain = client.embeddings.create(model=MODEL, input=lines, encoding_format="float")
assert [item.embedding for item in plain.data] == [item.embedding for item in large.data]
raw = client.embeddings.with_raw_response.create(model=MODEL, input=lines)
assert raw.headers["transfer-encoding"] == "chunked" and "content-length" not in raw.headers

# The network's nodes give the same bits, as tasks.
tasks = client.embeddings.create(model=MODEL, input=lines, extra_body={"mesh": True})
assert [item.embedding for item in tasks.data] == [item.embedding for item in large.data]
parts = tasks.model_extra["parts"]
assert len(parts) > 3 and sum(part["count"] for part in parts) == 2000, parts
assert all(part["task"] and part["workers"] for part in parts), parts

# What cannot be is refused, with the error classes that programs catch.
create = client.embeddings.create
said = refused(openai.NotFoundError, "model_not_found", lambda: create(model="text-embedding-3-small", input="x"))
assert MODEL in said, said
bad = "invalid_request"
refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input=""))
refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input=[]))
refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input="x", dimensions=257))
refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input="x", dimensions=0))
refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input=[[1, 2], [3]]))
said = refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input=[1, 2, 3]))
assert "text" in said, said
refused(openai.BadRequestError, bad, lambda: create(model=MODEL, input=["x"] * 16385))
stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0, timeout=30)
refused(openai.AuthenticationError, "invalid_api_key", stranger.models.list)
refused(openai.NotFoundError, "unknown_route", lambda: client.completions.create(model=MODEL, prompt="x"))


async def parallel():
    async with openai.AsyncOpenAI(base_url=base_url, api_key=token, max_retries=0, timeout=30) as many_at_once:
        calls = [many_at_once.embeddings.create(model=MODEL, input=texts) for _ in range(16)]
        return [reply.data[2].embedding for reply in await asyncio.gather(*calls)]


assert all(reply == vector for reply in asyncio.run(parallel()))
print("ok", openai.__version__)
