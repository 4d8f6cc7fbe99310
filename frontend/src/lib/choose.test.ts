import { expect, it } from "vitest";
import type { RunKind, RunRow } from "../types";
import { chooseRun, listed, MANY, meantRun } from "./choose";

function row(run: string, kind: RunKind): RunRow {
  return { run, label: run, kind, batches: 1, epochs: 1, verdict: "", short: "", live: false, plain: kind === "plain", version: "" };
}

it("opens the run that most wants to be read", () => {
  expect(chooseRun([row("a", "benign"), row("b", "pending"), row("c", "fault"), row("d", "fault")])).toBe("c");
  expect(chooseRun([row("a", "plain"), row("b", "pending")])).toBe("b");
  expect(chooseRun([row("a", "plain")])).toBe("a");
  expect(chooseRun([])).toBeNull();
});

it("finds the run of a link that was written below another log directory", () => {
  const runs = [row("a/exp1", "fault"), row("b/exp2", "fault"), row("c/exp2", "fault"), row("exp1x", "fault")];
  expect(meantRun(runs, "b/exp2")).toBe("b/exp2");
  expect(meantRun(runs, "exp1")).toBe("a/exp1");
  expect(meantRun(runs, "deep/er/exp1")).toBe("a/exp1");
  expect(meantRun([...runs, { ...row(".", "fault"), label: "exp7" }], "logs/exp7")).toBe(".");
  expect(meantRun(runs, "exp2")).toBeNull();
  expect(meantRun(runs, "nothing")).toBeNull();
  expect(meantRun([row(".", "fault")], "exp1")).toBe(".");
  expect(meantRun([], "exp1")).toBeNull();
});

it("lists few runs as they come, many with those that want to be read first, and finds them by words", () => {
  const few = [row("a", "benign"), row("b", "fault")];
  expect(listed(few, "")).toEqual(few);
  const many = [...Array.from({ length: MANY }, (_, index) => row(`run ${index}`, "benign")), row("last", "fault")];
  const names = (words: string): string[] => listed(many, words).map(({ run }) => run);
  expect(names("")[0]).toBe("last");
  expect(names("").slice(1)).toEqual(many.slice(0, MANY).map(({ run }) => run));
  expect(names("RUN 11")).toEqual(["run 11"]);
  expect(names("fault")).toEqual(["last"]);
  expect(names("nothing like it")).toEqual([]);
});
