// Takes pictures of a page: `node dev/shots.mjs ADDRESS FOLDER [NAME=WIDTHxHEIGHT[:dark]]...`
import { chromium } from "playwright-core";
import { mkdir } from "node:fs/promises";

const [address, folder, ...wanted] = process.argv.slice(2);
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
await mkdir(folder, { recursive: true });
for (const item of wanted.length > 0 ? wanted : ["light=1400x853"]) {
  const [name, size = ""] = item.split("=");
  const [shape = "", mode] = size.split(":");
  const [width = 1400, height = 853] = shape.split("x").map(Number);
  const page = await browser.newPage({ viewport: { width, height } });
  page.on("console", (message) => process.stdout.write(`${message.type()}: ${message.text()}\n`));
  page.on("pageerror", (error) => process.stdout.write(`error: ${error.stack}\n`));
  await page.goto(address);
  if (mode === "dark") await page.evaluate(() => document.body.classList.add("dark-mode"));
  await page.waitForTimeout(2500);
  await page.screenshot({ path: `${folder}/${name}.png` });
  await page.close();
}
await browser.close();
