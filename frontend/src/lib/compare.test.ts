import { describe, expect, it } from "vitest";
import type { Compare, ComparedRun, RunRow } from "../types";
import { compared, inOrder, MOST, most, others, settingText, shared, sweepOf } from "./compare";

const row = (run: string, plain = false): RunRow => ({ run, label: run, batches: 1, epochs: 1, verdict: "", kind: "benign", short: "", live: false, plain, version: "" });
const many = Array.from({ length: 40 }, (_, index) => row(`run ${index}`));

describe("compared", () => {
  it("takes the chosen runs that there are", () => {
    expect(compared([row("a"), row("b"), row("c")], { run: "a", runs: ["c", "gone", "a"] })).toEqual(["c", "a"]);
  });
  it("takes those of the list without a choice, but for plain ones", () => {
    expect(compared([row("a"), row("b", true), row("c")], { run: "a", runs: [] })).toEqual(["a", "c"]);
  });
  it("takes no more than the server does, and always the open one", () => {
    const found = compared(many, { run: "run 39", runs: [] });
    expect(found).toHaveLength(MOST);
    expect(found[0]).toBe("run 39");
  });
});

describe("settingText", () => {
  it("writes every kind of value", () => {
    expect([null, true, false, 128, 0.001, "adam"].map(settingText)).toEqual(["–", "yes", "no", "128", "0.001", "adam"]);
  });
});

describe("sweepOf", () => {
  const run = (value: number | null): ComparedRun => ({ run: `r${value}`, label: "", kind: "benign", short: "", verdict: "", batches: 0, epochs: 0, jump: null, last: null, noise: null, findings: [], jumps: { index: [], jump: [], kind: [] }, loss: { names: [], columns: [] }, settings: ["x", value] });
  const answer = (values: (number | null)[]): Compare => ({ runs: values.map(run), differ: [{ name: "a", label: "a" }, { name: "config.lr", label: "lr" }], sweep: "config.lr", said: "" });
  it("sorts the runs by the setting, on a log axis where it is wide", () => {
    const sweep = sweepOf(answer([1, 0.01, 0.1]));
    expect(sweep?.names).toEqual(["0.01", "0.1", "1"]);
    expect(sweep?.at.map((at) => Math.round(at * 10) / 10)).toEqual([-4.6, -2.3, 0]);
    expect(sweepOf(answer([1, 3, 2]))?.at).toEqual([1, 2, 3]);
  });
  it("names equal values once, and leaves out runs without one", () => {
    expect(sweepOf(answer([2, 2, null, 3]))?.names).toEqual(["2", "", "3"]);
  });
  it("hides no run that has no value of it, as one that could not be read", () => {
    expect(inOrder(answer([2, null, 1])).map((each) => each.run)).toEqual(["r1", "r2", "rnull"]);
    expect(inOrder({ ...answer([2, null, 1]), sweep: null }).map((each) => each.run)).toEqual(["r2", "rnull", "r1"]);
  });
  it("is nothing without a sweep", () => {
    expect(sweepOf({ ...answer([1, 2]), sweep: null })).toBeNull();
  });
});

describe("most", () => {
  it("is not stretched by a few", () => {
    const values = Array.from({ length: 100 }, (_, index) => index);
    expect(most([...values, 1e30, null])).toEqual([4, 96]);
    expect(most([5])).toEqual([5, 5]);
    expect(most([null])).toBeNull();
  });
});

describe("shared", () => {
  const run = (label: string, ...findings: [cause: string, kind: "fault" | "benign"][]): ComparedRun =>
    ({ label, findings: findings.map(([cause, kind]) => ({ cause, kind, title: cause, strength: "likely" })) }) as unknown as ComparedRun;

  it("names each cause once, with its runs, the most common first", () => {
    const runs = [run("a", ["lr", "fault"], ["noise", "benign"]), run("b", ["noise", "benign"], ["noise", "benign"]), run("c")];
    expect(shared({ runs })).toEqual([
      { cause: "noise", kind: "benign", runs: ["a", "b"] },
      { cause: "lr", kind: "fault", runs: ["a"] },
    ]);
  });
  it("keeps a cause of two kinds apart, and takes runs without findings", () => {
    expect(shared({ runs: [run("a", ["lr", "fault"]), run("b", ["lr", "benign"])] })).toHaveLength(2);
    expect(shared({ runs: [run("a")] })).toEqual([]);
  });
});

describe("others", () => {
  const rows = ["a", "b", "c", "d", "e", "f"].map((name) => ({ run: name, plain: false })) as unknown as RunRow[];

  it("are the compared runs without the open one, four at most", () => {
    expect(others({ runs: { value: { runs: rows } }, place: { run: "b", runs: [] } })).toEqual(["a", "c", "d", "e"]);
    expect(others({ runs: { value: { runs: rows } }, place: { run: "b", runs: ["f", "b"] } })).toEqual(["f"]);
    expect(others({ runs: { value: null }, place: { run: "b", runs: ["f", "b"] } })).toEqual([]);
  });
});
