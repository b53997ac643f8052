// The browser's module in Node: opened, and called with one request after another.
import { readFileSync } from "node:fs";

/// Opens a module; one that imports anything is refused: it could read a clock or randomness.
export function open(file) {
  const module = new WebAssembly.Module(readFileSync(file));
  const imports = WebAssembly.Module.imports(module).map((i) => `${i.module}.${i.name}`);
  if (imports.length > 0) throw new Error(`the module imports ${imports.join(", ")}`);
  const { exports } = new WebAssembly.Instance(module, {});
  // The memory may grow in any call, so its view is taken anew after each.
  return (request) => {
    const at = exports.anthill_request(request.length) >>> 0;
    new Uint8Array(exports.memory.buffer).set(request, at);
    const length = exports.anthill_call() >>> 0;
    const start = exports.anthill_answer() >>> 0;
    return new Uint8Array(exports.memory.buffer).slice(start, start + length);
  };
}

/// A request: its kind, then each part with its length (u32, little-endian).
export function pack(kind, parts) {
  const all = [Buffer.from([kind])];
  for (const part of parts) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(part.length);
    all.push(length, part);
  }
  return Buffer.concat(all);
}

/// What a piece of work gives, and its CPU seconds.
export function timed(work) {
  const began = process.cpuUsage();
  const made = work();
  const used = process.cpuUsage(began);
  return [made, (used.user + used.system) / 1e6];
}
