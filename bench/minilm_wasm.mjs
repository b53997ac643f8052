// Sentences per second of the full encoder in WebAssembly (Node, one thread), beside onnxruntime-web
// on the same texts where that package and an ONNX model are given.
//
// usage: node bench/minilm_wasm.mjs MODULE.wasm MODEL_DIR TEXTS [MODEL.onnx TOKENS.json]
//   MODULE.wasm  target/wasm-simd/wasm32-unknown-unknown/release/anthill_wasm_check.wasm (cargo xtask wasm)
//   MODEL_DIR    folder with model.safetensors and tokenizer.json
//   MODEL.onnx   made by bench/minilm_onnx.py; wants: npm install onnxruntime-web@1.30.0
//   TOKENS.json  the texts' token ids, by bench/minilm.py --tokens: the peer's tokenising is not counted
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { open, pack, timed } from "../xtask/wasm-check/module.mjs";

const [ENCODER, ENCODER_INT8] = [7, 8];
const [file, folder, list, onnx, tokens] = process.argv.slice(2);
const texts = readFileSync(list, "utf8").split("\n").filter((line) => line.trim());
const call = open(file);
const files = ["model.safetensors", "tokenizer.json"].map((name) => readFileSync(join(folder, name)));

const vectors = {};
for (const [name, kind] of [["f32", ENCODER], ["int8", ENCODER_INT8]]) {
  const ask = (some) => call(pack(kind, [...files, ...some.map((text) => Buffer.from(text))]));
  ask(texts.slice(0, 8));
  // Loading the model is taken off: the same call without texts.
  const [, empty] = timed(() => ask([]));
  const [made, all] = timed(() => ask(texts));
  vectors[name] = made;
  console.log(`anthill ${name}: ${(texts.length / (all - empty)).toFixed(1)} sentences per CPU-second, one by one`);
}

/// A package of the folder in which the script is run.
const load = (name) => import(pathToFileURL(createRequire(join(process.cwd(), "_")).resolve(name)).href);

if (onnx) {
  const ort = await load("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
  const ready = JSON.parse(readFileSync(tokens, "utf8"));
  const run = async (ids) => {
    const ones = new BigInt64Array(ids.length).fill(1n);
    const tensor = (values) => new ort.Tensor("int64", values, [1, ids.length]);
    return session.run({ input_ids: tensor(BigInt64Array.from(ids, BigInt)), attention_mask: tensor(ones) });
  };
  await run(ready[0]);
  const began = process.cpuUsage();
  let least = 1;
  for (const [n, ids] of ready.entries()) {
    const hidden = (await run(ids)).last_hidden_state.data;
    least = Math.min(least, cosine(hidden, ids.length, n));
  }
  const used = process.cpuUsage(began);
  const rate = texts.length / ((used.user + used.system) / 1e6);
  console.log(`onnxruntime-web: ${rate.toFixed(1)} sentences per CPU-second, one by one; least cosine to it ${least.toFixed(7)}`);
  if (least < 0.99999) throw new Error("the vectors differ from onnxruntime-web's");
}

/// Cosine of the mean of the peer's token vectors and our vector.
function cosine(hidden, length, n) {
  const width = hidden.length / length;
  const view = new DataView(vectors.f32.buffer, 32 + n * (1 + 4 * width) + 1);
  let [dot, norm] = [0, 0];
  for (let j = 0; j < width; j++) {
    let mean = 0;
    for (let i = 0; i < length; i++) mean += hidden[i * width + j];
    dot += mean * view.getFloat32(4 * j, true);
    norm += mean * mean;
  }
  return dot / Math.sqrt(norm);
}
