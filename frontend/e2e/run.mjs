// Runs one scenario: `node e2e/run.mjs NAME BASE [JSON]`. What it prints is its result; it fails by exit code.

import { inBrowser } from "./browser.mjs";
import * as axe from "./axe.mjs";
import * as bench from "./bench.mjs";
import * as batches from "./batches.mjs";
import * as compare from "./compare.mjs";
import * as epochs from "./epochs.mjs";
import * as files from "./files.mjs";
import * as holes from "./holes.mjs";
import * as host from "./host.mjs";
import * as layers from "./layers.mjs";
import * as lens from "./lens.mjs";
import * as overlays from "./overlays.mjs";
import * as paint from "./paint.mjs";
import * as pictures from "./pictures.mjs";
import * as reading from "./reading.mjs";
import * as states from "./states.mjs";
import * as surroundings from "./surroundings.mjs";
import * as timeline from "./timeline.mjs";

const scenarios = { ...axe, ...batches, ...bench, ...compare, ...epochs, ...files, ...holes, ...host, ...layers, ...lens, ...overlays, ...paint, ...pictures, ...reading, ...states, ...surroundings, ...timeline };
const [name, base, options = "{}"] = process.argv.slice(2);
if (name === undefined || base === undefined || !(name in scenarios)) throw new Error(`usage: run.mjs {${Object.keys(scenarios).join(",")}} BASE [JSON]`);
await inBrowser(base, (page) => scenarios[name](page, base, JSON.parse(options)));
