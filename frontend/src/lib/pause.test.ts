import { expect, it } from "vitest";
import type { RunKind, RunRow } from "../types";
import { pause } from "./pause";

function row(run: string, kind: RunKind, live = false): RunRow {
  return { run, label: run, kind, live, batches: 1, epochs: 1, verdict: "", short: "", plain: kind === "plain", version: "" };
}

function ready(...runs: RunRow[]): { status: string; value: { runs: RunRow[] } } {
  return { status: "ready", value: { runs } };
}

it("rests when every run is finished and judged", () => {
  expect(pause(ready(row("a", "fault"), row("b", "benign"), row("c", "plain")), "a")).toBeNull();
});

it("looks each second while the run on the screen grows or any verdict is awaited", () => {
  expect(pause(ready(row("a", "fault", true), row("b", "benign")), "a")).toBe(1000);
  expect(pause(ready(row("a", "fault"), row("b", "pending")), "a")).toBe(1000);
});

it("looks less often for other runs, a first recording, and a server that is gone", () => {
  for (const wait of [
    pause(ready(row("a", "fault"), row("b", "benign", true)), "a"),
    pause(ready(), null),
    pause(ready(row("a", "plain")), "a"),
    pause({ status: "loading", value: null }, null),
    pause({ status: "failed", value: { runs: [row("a", "pending")] } }, "a"),
  ]) {
    expect(wait).toBeGreaterThan(1000);
  }
});
