// Answers requests with the browser module, in headless Chromium:
//   node check_browser.mjs MODULE.wasm FOLDER     reads FOLDER/N.request, writes FOLDER/N.answer
// A page on the loopback interface fetches the module and the requests and posts its answers.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [file, folder] = process.argv.slice(2);
const PATIENCE_MS = 300_000;
const requests = [];
for (let n = 0; existsSync(join(folder, `${n}.request`)); n++) requests.push(join(folder, `${n}.request`));

/// What the page runs; it has no part of this script.
async function page(count) {
  const report = (path, body) => fetch(path, { method: "POST", body });
  try {
    const bytes = await (await fetch("/module")).arrayBuffer();
    const { exports } = (await WebAssembly.instantiate(bytes, {})).instance;
    for (let n = 0; n < count; n++) {
      const request = new Uint8Array(await (await fetch(`/request/${n}`)).arrayBuffer());
      const began = performance.now();
      const at = exports.anthill_request(request.length) >>> 0;
      new Uint8Array(exports.memory.buffer).set(request, at);
      const length = exports.anthill_call() >>> 0;
      const start = exports.anthill_answer() >>> 0;
      const seconds = (performance.now() - began) / 1000;
      const answer = new Uint8Array(exports.memory.buffer).slice(start, start + length);
      await report(`/answer/${n}/${seconds.toFixed(3)}`, answer);
    }
    await report("/end", "");
  } catch (error) {
    await report("/failed", String(error));
  }
}

const server = createServer((request, response) => {
  const [, what, n, seconds] = request.url.split("/");
  const body = [];
  request.on("data", (part) => body.push(part));
  request.on("end", () => {
    response.setHeader("content-type", what ? "application/octet-stream" : "text/html");
    if (!what) response.end(`<script>(${page})(${requests.length})</script>`);
    else if (what === "module") response.end(readFileSync(file));
    else if (what === "request") response.end(readFileSync(requests[Number(n)]));
    else response.end();
    if (what === "answer") {
      writeFileSync(join(folder, `${n}.answer`), Buffer.concat(body));
      console.log(`${n} ${seconds}`);
    }
    if (what === "end") finish(0);
    if (what === "failed") finish(1, Buffer.concat(body).toString());
  });
});

const profile = mkdtempSync(join(tmpdir(), "anthill-chromium-"));
let browser;
function finish(code, reason) {
  if (reason) console.error(reason);
  browser?.removeAllListeners("exit");
  browser?.once("exit", () => removeProfile(50, () => process.exit(code)));
  browser?.kill();
}

// The browser's other processes may write there for a moment longer. What cannot be removed fails no check.
function removeProfile(tries, then) {
  try {
    rmSync(profile, { recursive: true, force: true });
  } catch {
    if (tries > 0) return void setTimeout(removeProfile, 100, tries - 1, then);
  }
  then();
}

server.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`];
  browser = spawn("chromium", [...flags, url], { stdio: "ignore" });
  browser.on("exit", (code) => { console.error(`chromium ended early (${code})`); process.exit(1); });
  setTimeout(() => finish(1, "chromium did not answer in time"), PATIENCE_MS).unref();
});
