// Answers requests with the browser module, in Node:
//   node check.mjs MODULE.wasm FOLDER     reads FOLDER/N.request, writes FOLDER/N.answer
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { open, timed } from "./module.mjs";

const [file, folder] = process.argv.slice(2);
const call = open(file);
for (let n = 0; existsSync(join(folder, `${n}.request`)); n++) {
  const request = readFileSync(join(folder, `${n}.request`));
  const [answer, seconds] = timed(() => call(request));
  writeFileSync(join(folder, `${n}.answer`), answer);
  console.log(`${n} ${seconds.toFixed(3)}`);
}
