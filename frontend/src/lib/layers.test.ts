import { describe, expect, it } from "vitest";
import type { Layers } from "../types";
import { againstMedian, coverage, factor, readLayer } from "./layers";

const LAYERS: Layers = {
  signal: "layer_grad_norm",
  signals: [],
  label: "grad norm",
  from: 0,
  to: 100,
  names: ["a", "b"],
  layers: 2,
  batch: [0, 50],
  read: 2,
  cells: [
    [1, 4],
    [null, 0],
  ],
  said: "",
  missing: [],
};

describe("againstMedian", () => {
  it("counts doublings from the median of each row", () => {
    expect(againstMedian([[1, 2, 8]])).toEqual([[-1, 0, 2]]);
    expect(againstMedian(LAYERS.cells)[1]).toEqual([null, null]);
  });
});

describe("readLayer", () => {
  it("names layer, batches and value", () => {
    expect(readLayer(LAYERS, 0, 0)).toBe("a · batches 0 to 49 · grad norm 1, ×0.25 of its median");
    expect(readLayer(LAYERS, 1, 0)).toBe("b · batches 0 to 49 · grad norm –");
  });
});

describe("coverage", () => {
  it("says how much was read", () => {
    expect(coverage(LAYERS)).toBe("read at 2 of 100 batches; blank where none was for long");
    expect(coverage({ ...LAYERS, read: 100, layers: 300 })).toBe("the 2 of 300 layers that change most · read at 100 of 100 batches");
  });
});

describe("factor", () => {
  it("is written as one", () => {
    expect([factor(1), factor(-1), factor(0)]).toEqual(["×2", "×0.5", "×1"]);
  });
});
