// Vector search in Node against the native program, on the same vectors with one thread each:
//   node bench/wasm_vector.mjs MODULE.wasm base.npy query.npy [rows] [target/release/anthill]
// MODULE.wasm is target/wasm-simd/wasm32-unknown-unknown/release/anthill_wasm_check.wasm (cargo xtask wasm).
// Searches are timed as the difference between 5 rounds and 1 of all queries, so that building is
// left out. Prints queries per second of both and their ratio, with the recall of the native run;
// fails when the graphs differ.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { open, pack, timed } from "../xtask/wasm-check/module.mjs";

const [file, base, query, rows = "20000", program = "target/release/anthill"] = process.argv.slice(2);
const [M, EFC, K, EF, ROUNDS] = [32, 200, 10, 64, 5];

// The values of a .npy file, as bytes, and the length of a row.
function npy(path) {
  const bytes = readFileSync(path);
  const length = bytes.readUInt16LE(8);
  const header = bytes.subarray(10, 10 + length).toString();
  if (!header.includes("'<f4'")) throw new Error(`${path} is not float32`);
  const dims = Number(/\(\d+, (\d+)\)/.exec(header)[1]);
  return { dims, values: bytes.subarray(10 + length) };
}

const vectors = npy(base);
const asked = npy(query);
const limited = vectors.values.subarray(0, Number(rows) * vectors.dims * 4);

// CPU seconds of one call, and the digest that it answers with.
function call(storage, rounds) {
  const numbers = Buffer.from(new Uint32Array([vectors.dims, M, EFC, K, EF, storage, rounds]).buffer);
  const request = pack(16, [numbers, limited, asked.values]);
  const ask = open(file);
  const [made, seconds] = timed(() => ask(request));
  const answer = Buffer.from(made);
  if (answer.subarray(0, 6).toString() === "error:") throw new Error(answer.toString());
  return { seconds, digest: answer.toString("hex", 0, 32) };
}

const queries = asked.values.length / 4 / asked.dims;
for (const [storage, name] of [[0, "f32-int8"], [1, "f32"], [2, "int8"]]) {
  const once = call(storage, 1);
  const often = call(storage, 1 + ROUNDS);
  const wasm = (ROUNDS * queries) / (often.seconds - once.seconds);
  const native = JSON.parse(
    execFileSync(program, ["vector", "bench", "--base", base, "--query", query, "--limit", rows,
      "--metric", "dot", "--storage", name, "--ef", String(EF), "--rounds", String(ROUNDS), "--json"]),
  );
  const { qps, recall } = native.results[0];
  if (native.digest !== once.digest) throw new Error(`${name}: the graphs differ`);
  console.log(
    `${name}: wasm ${wasm.toFixed(0)}/s, native ${qps.toFixed(0)}/s, ratio ${(wasm / qps).toFixed(2)}, ` +
      `recall ${recall.toFixed(4)}, equal graphs; build ${(once.seconds - queries / wasm).toFixed(1)} s and ` +
      `${native.build_seconds.toFixed(1)} s`,
  );
}
