import { describe, expect, it } from "vitest";
import { freshRun, idle, type State } from "../state";
import { csv, fileName, shownJson, timelineCsv, viewCsv } from "./export";
import { START, type View } from "./hash";

const ready = (value: unknown): object => ({ status: "ready", value, error: "" });

function state(view: View, answers: Partial<Record<keyof State, unknown>>): State {
  const loads: Partial<State> = Object.fromEntries(Object.entries(answers).map(([name, value]) => [name, ready(value)]));
  return { place: { ...START, run: "r", view }, dark: false, runs: idle(), compare: idle(), ...freshRun(), ...loads };
}

describe("csv", () => {
  it("quotes what needs it and leaves unknown values empty", () => {
    expect(csv(["a", "b,c"], [[1, null], ['say "x"', true]])).toBe('a,"b,c"\r\n1,\r\n"say ""x""",true\r\n');
  });
  it("lets no text become a formula, and keeps negative numbers numbers", () => {
    expect(csv(["x"], [["=1+1"], ["@a"], ["-b"], [-2]])).toBe("x\r\n'=1+1\r\n'@a\r\n'-b\r\n-2\r\n");
  });
});

describe("viewCsv", () => {
  it("is the table of the view that is open", () => {
    const table = { names: ["batch", "loss"], columns: [[1, 2], [0.5, null]] };
    expect(viewCsv(state("batches", { batches: table }))).toBe("batch,loss\r\n1,0.5\r\n2,\r\n");
    expect(timelineCsv(state("batches", { timeline: table }))).toBe("batch,loss\r\n1,0.5\r\n2,\r\n");
  });
  it("is a matrix for a map", () => {
    expect(viewCsv(state("epochs", { fold: { position: [0, 5], epoch: [7], cells: [[1, null]] } }))).toBe("epoch,0,5\r\n7,1,\r\n");
    expect(viewCsv(state("layers", { layers: { names: ["a,b"], batch: [3], cells: [[1]] } }))).toBe('layer,3\r\n"a,b",1\r\n');
  });
  it("has the signals of a boundary beside its losses", () => {
    const lens = { names: ["offset", "loss"], columns: [[-1, 0], [2, 3]], signals: [{ name: "lr", value: [0.1, 0.2] }] };
    expect(viewCsv(state("boundary", { lens }))).toBe("offset,loss,lr\r\n-1,2,0.1\r\n0,3,0.2\r\n");
  });
  it("has a line for each run that is compared", () => {
    const compare = { differ: [{ name: "config.lr" }], runs: [{ run: "=a", kind: "fault", verdict: "v", jump: 1, last: 2, noise: null, settings: [0.1] }] };
    expect(viewCsv(state("compare", { compare }))).toBe("run,kind,verdict,median_jump,last_loss,noise,config.lr\r\n'=a,fault,v,1,2,,0.1\r\n");
  });
  it("is empty before the answer is here", () => {
    expect(viewCsv(state("epochs", {}))).toBe("");
    expect(timelineCsv(state("epochs", {}))).toBe("");
  });
});

describe("shownJson", () => {
  it("holds the answers of what is open", () => {
    const text = shownJson(state("epochs", { fold: { said: "x" }, timeline: { raw: true }, batches: { count: 1 } }));
    expect(Object.keys(JSON.parse(text) as object)).toEqual(["place", "diagnosis", "timeline", "fold"]);
  });
});

describe("fileName", () => {
  it("is one that any file system takes", () => {
    expect(fileName("a/b: <c> ü", "page.png")).toBe("losslens-a-b-c-ü-page.png");
    expect(fileName("../..", "x.csv")).toBe("losslens-run-x.csv");
    expect(fileName("x".repeat(300), "x.csv").length).toBeLessThan(100);
  });
});
