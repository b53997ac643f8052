// A host of docs/SANDBOX.md on the JavaScript engine's own WebAssembly (V8 in Node): runs the modules
// that the metering pass wrote. Usage: node host.mjs JOBS, a file of JSON lines
//   {module, start, initialize, steps, args, input, fuel, pages}
// (paths of the module and the input; `args` in hexadecimal; `fuel` is what is left of the limit after
// the start's charge). It prints one JSON line for each: {result, used, output, progress, steps}.
import { readFileSync } from "node:fs";

const MAX_OUTPUT = 16 * 1024 * 1024;
const PER_STEP = 2000n;

class Ended extends Error {}

function host(job, state) {
  const part = (at, length) => {
    at >>>= 0;
    length >>>= 0;
    const bytes = new Uint8Array(state.memory.buffer);
    if (at + length > bytes.length) throw new Ended();
    return bytes.subarray(at, at + length);
  };
  const fill = (to, from) => {
    const count = Math.min(to.length, from.length);
    to.set(from.subarray(0, count));
    return count;
  };
  return {
    input_len: () => job.input.length,
    input: (offset, at, length) => fill(part(at, length), job.input.subarray(offset >>> 0)),
    args_len: () => job.args.length,
    args: (at, length) => fill(part(at, length), job.args),
    output: (at, length) => {
      const bytes = part(at, length).slice();
      if (state.length + bytes.length > MAX_OUTPUT) {
        state.fault = "output_limit";
        throw new Ended();
      }
      state.length += bytes.length;
      state.output.push(bytes);
    },
    log: (at, length) => void part(at, length),
    progress: (done, all) => {
      state.progress = [BigInt.asUintN(64, done).toString(), BigInt.asUintN(64, all).toString()];
    },
    // Without a grant every key is denied.
    kv_get: (key, keyLength, at, length) => (part(key, keyLength), part(at, length), -2),
    kv_put: (key, keyLength, at, length) => (part(key, keyLength), part(at, length), -2),
  };
}

function run(job) {
  job.input = new Uint8Array(readFileSync(job.input));
  job.args = new Uint8Array(Buffer.from(job.args, "hex"));
  const state = { output: [], length: 0, fault: null, progress: null, memory: null };
  const module = new WebAssembly.Module(readFileSync(job.module));
  const { exports } = new WebAssembly.Instance(module, { anthill: host(job, state) });
  state.memory = exports.memory;
  const fuel = exports["anthill:fuel"];
  const limit = BigInt(job.fuel);
  fuel.value = limit;
  // The first step includes the start.
  let steps = 1;
  const end = (result) => {
    const hex = state.output.map((b) => Buffer.from(b).toString("hex")).join("");
    const output = result === "done" ? hex : "";
    return { result, used: (limit - fuel.value).toString(), output, progress: state.progress, steps };
  };
  try {
    if (job.start) exports["anthill:start"]();
    if (fuel.value < 0n) return end("cost_limit");
    if (job.initialize) exports._initialize();
    for (;;) {
      if (fuel.value < 0n) return end("cost_limit");
      fuel.value -= PER_STEP;
      if (fuel.value < 0n) return end("cost_limit");
      const code = exports.step(job.steps);
      if (fuel.value < 0n) return end("cost_limit");
      if (code === 1) return end("done");
      if (code !== 0) return end("gave_up");
      steps += 1;
    }
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError || error instanceof Ended || error instanceof RangeError)) throw error;
    // A stack that the engine bounds before the pass does would differ from the others: say so.
    if (error instanceof RangeError) return end("stack of the engine");
    if (fuel.value < 0n) return end("cost_limit");
    return end(state.fault ?? "trap");
  }
}

for (const line of readFileSync(process.argv[2], "utf8").split("\n").filter(Boolean)) {
  console.log(JSON.stringify(run(JSON.parse(line))));
}
