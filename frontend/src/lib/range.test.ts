import { describe, expect, it } from "vitest";
import type { Num, Timeline } from "../types";
import { alike, column, yRange } from "./range";

function timeline(mean: Num[], validation: Num[] = []): Timeline {
  const batch = mean.map((_, index) => index);
  return {
    run: "r", from: 0, to: mean.length, batches: mean.length, raw: true, names: ["batch", "step", "mean", "min", "max"], columns: [batch, batch, mean, mean, mean],
    more: [], lanes: { names: ["batch"], columns: [batch] }, nonfinite: [], gaps: { batch: [], lost: [] }, epochs: { epoch: [], from: [], to: [] },
    validation: { batch: validation.map((_, index) => index), step: [], value: validation }, events: { batch: [], step: [], kind: [], text: [] }, settings: { loss_source: "", overhead: null }, missing: [],
  };
}

describe("yRange", () => {
  it("holds everything that is drawn", () => {
    expect(yRange(timeline([1, 2]), "auto", [9, null]).high).toBeGreaterThan(9);
    expect(yRange(timeline([]), "auto", [9, 4]).empty).toBe(false);
    expect(yRange(timeline([1, 2]), "auto", [9000]).log).toBe(false); // another run does not decide on the axis
    const range = yRange(timeline([1, 2, null, 3], [5]), "auto");
    expect(range.log).toBe(false);
    expect(range.low).toBeLessThanOrEqual(1);
    expect(range.high).toBeGreaterThanOrEqual(5);
  });

  it("does not go below zero for a loss that does not", () => {
    expect(yRange(timeline([0.01, 9]), "linear").low).toBe(0);
    expect(yRange(timeline([-0.5, 9]), "linear").low).toBeLessThan(-0.5);
  });

  it("goes to a log axis by itself where a spike would flatten the curve, never with values at zero", () => {
    expect(yRange(timeline([1, 1, 1, 1, 400]), "auto").log).toBe(true);
    expect(yRange(timeline([1, 1, 1, 1, 400]), "linear").log).toBe(false);
    expect(yRange(timeline([0, 1, 1, 1, 400]), "log").log).toBe(false);
    expect(yRange(timeline([1, 2]), "log").log).toBe(true);
  });

  it("survives a run without a finite value", () => {
    expect(yRange(timeline([null, null]), "auto")).toEqual({ low: 0, high: 1, log: false, empty: true });
    expect(yRange(timeline([]), "auto")).toEqual({ low: 0, high: 1, log: false, empty: true });
  });

  it("follows the timeline's scale from close by, where the values allow it", () => {
    const log = alike(0.5, 5e16, true);
    expect(log.log).toBe(true);
    expect(log.low).toBeLessThan(0.5);
    expect(log.high).toBeGreaterThan(5e16);
    expect(alike(0, 5, true).log).toBe(false);
    expect(alike(0.5, 5, false)).toEqual({ low: 0.5 - 0.27, high: 5.27, log: false, empty: false });
    expect(alike(2, 2, true).high).toBeGreaterThan(2);
  });

  it("finds columns by name", () => {
    expect(column({ names: ["a", "b"], columns: [[1], [2]] }, "b")).toEqual([2]);
    expect(column({ names: [], columns: [] }, "b")).toEqual([]);
  });
});
