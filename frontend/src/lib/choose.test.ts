import { expect, it } from "vitest";
import type { RunKind, RunRow } from "../types";
import { chooseRun } from "./choose";

function row(run: string, kind: RunKind): RunRow {
  return { run, kind, batches: 1, epochs: 1, verdict: "", short: "", live: false, plain: kind === "plain" };
}

it("opens the run that most wants to be read", () => {
  expect(chooseRun([row("a", "benign"), row("b", "pending"), row("c", "fault"), row("d", "fault")])).toBe("c");
  expect(chooseRun([row("a", "plain"), row("b", "pending")])).toBe("b");
  expect(chooseRun([row("a", "plain")])).toBe("a");
  expect(chooseRun([])).toBeNull();
});
