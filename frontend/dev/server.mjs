// Serves the built page over made-up runs, framed as TensorBoard frames it: `node dev/server.mjs [port]`.
// `?dark` shows the dark page. For working on views only: the tests run against a real TensorBoard.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { diagnosis, lens, overlay, RUNS, timeline } from "./synthetic.mjs";

const built = new URL("../../tb_losslens/plugin/static/", import.meta.url);
const host = `<!doctype html><meta charset="utf-8"><style>body{margin:0;display:grid;grid-template-rows:64px 1fr;height:100vh}
header{background:#f57c00}iframe{border:0;width:100%;height:100%}</style><body><header></header>
<iframe src="data/plugin_entry.html"></iframe><script>if(location.search==="?dark")document.body.classList.add("dark-mode")</script>`;
const frame = `<!doctype html><head><base href="plugin/losslens/"></head><body><script type="module">import("./static/index.js").then(m=>void m.render())</script>`;

const rows = () => RUNS.map((run) => ({ run: run.name, batches: run.batches, epochs: run.epochs, verdict: run.kind === "pending" ? "" : diagnosis(run).verdict, kind: run.kind, short: run.short, live: run.live, plain: false }));

function answer(route, query) {
  if (route === "runs") return { runs: rows().sort((a, b) => (a.run < b.run ? -1 : 1)), hint: "" };
  const run = RUNS.find((item) => item.name === query.get("run"));
  if (run === undefined) return null;
  const number = (name, otherwise) => (query.has(name) ? Number(query.get(name)) : otherwise);
  const routes = {
    diagnosis: () => diagnosis(run),
    timeline: () => timeline(run, number("from", 0), number("to", run.batches), number("points", 1000)),
    lens: () => lens(run, number("boundary", 0), number("m", null)),
    overlay: () => overlay(run, number("points", 100)),
    scalars: () => ({ tags: ["Loss/train", "Loss/val", "losslens/boundary_jump"] }),
    scalar: () => ({ tag: query.get("tag"), names: ["batch", "step", "value"], columns: timeline(run, 0, run.batches, 100).columns.slice(0, 3) }),
    report: () => ({ markdown: "# " + run.name }),
  };
  return routes[route]?.() ?? null;
}

createServer(async (request, response) => {
  const url = new URL(request.url, "http://x");
  const send = (code, type, body) => response.writeHead(code, { "content-type": type }).end(body);
  try {
    if (url.pathname === "/") return send(200, "text/html", host);
    if (url.pathname.endsWith("plugin_entry.html")) return send(200, "text/html", frame);
    const name = url.pathname.split("/").pop();
    if (url.pathname.includes("/static/")) return send(200, "text/javascript", await readFile(new URL(name, built)));
    const body = answer(name, url.searchParams);
    return body === null ? send(404, "text/plain", `no run ${url.searchParams.get("run")}`) : send(200, "application/json", JSON.stringify(body));
  } catch (error) {
    return send(500, "text/plain", String(error));
  }
}).listen(Number(process.argv[2] ?? 8123), "127.0.0.1");
