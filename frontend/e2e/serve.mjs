// One browser for all scenarios of a test session: prints where it listens, and ends when its standard input does.

import { chromium } from "playwright-core";
import { FLAGS } from "./browser.mjs";

const server = await chromium.launchServer({ executablePath: process.env.LOSSLENS_CHROMIUM, args: FLAGS, host: "127.0.0.1" });
console.log(server.wsEndpoint());
process.stdin.on("end", () => void server.close().then(() => process.exit(0)));
process.stdin.resume();
