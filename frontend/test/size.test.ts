// What travels to the browser stays small, and asks nothing of anybody else.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const LIMIT = 45_000;
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "losslens-page-"));
  execFileSync("node", ["build.mjs", "--out", folder], { cwd: join(import.meta.dirname, "..") });
}, 120_000); // a build takes a second, and a busy machine as long as it likes
afterAll(() => rmSync(folder, { recursive: true }));

describe("the built page", () => {
  it("is at most 45 KB gzipped in all", () => {
    const files = readdirSync(folder);
    expect(files).toContain("index.js");
    const size = files.reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name)), { level: 9 }).length, 0);
    expect(size).toBeLessThanOrEqual(LIMIT);
  });

  it("names no other origin and evaluates nothing", () => {
    const text = readFileSync(join(folder, "index.js"), "utf8").replaceAll("http://www.w3.org/", "");
    expect(text).not.toMatch(/https?:\/\/|\beval\(|new Function\(|["'`]\/\/[a-z]/);
  });

  it("exports what TensorBoard calls", () => {
    expect(readFileSync(join(folder, "index.js"), "utf8")).toMatch(/export\{\w+ as render\}/);
  });
});
