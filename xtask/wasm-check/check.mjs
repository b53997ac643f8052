// Answers requests with the browser module, in Node:
//   node check.mjs MODULE.wasm FOLDER     reads FOLDER/N.request, writes FOLDER/N.answer
// A module that imports anything is refused: it could read a clock or randomness.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [file, folder] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(file));
const imports = WebAssembly.Module.imports(module).map((i) => `${i.module}.${i.name}`);
if (imports.length > 0) {
  console.error(`the module imports ${imports.join(", ")}`);
  process.exit(1);
}
const { exports } = new WebAssembly.Instance(module, {});

// The memory may grow in any call, so its view is taken anew after each.
function call(request) {
  const at = exports.anthill_request(request.length) >>> 0;
  new Uint8Array(exports.memory.buffer).set(request, at);
  const length = exports.anthill_call() >>> 0;
  const start = exports.anthill_answer() >>> 0;
  return new Uint8Array(exports.memory.buffer).slice(start, start + length);
}

for (let n = 0; existsSync(join(folder, `${n}.request`)); n++) {
  const began = process.cpuUsage();
  const answer = call(readFileSync(join(folder, `${n}.request`)));
  const used = process.cpuUsage(began);
  writeFileSync(join(folder, `${n}.answer`), answer);
  console.log(`${n} ${((used.user + used.system) / 1e6).toFixed(3)}`);
}
