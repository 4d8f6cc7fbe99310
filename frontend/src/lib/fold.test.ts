import { describe, expect, it } from "vitest";
import type { Fold } from "../types";
import { lessLevel, readCell, tickPositions } from "./fold";

const FOLD: Fold = {
  position: [0, 10],
  length: 20,
  epochs: 3,
  per_row: 2,
  epoch: [0, 2],
  batch: [0, 40],
  level: [1, null],
  cells: [
    [1.5, 0.5],
    [null, 2],
  ],
  profile: { names: [], columns: [], epochs: 0 },
  said: "",
};

describe("lessLevel", () => {
  it("takes the mean of each row off, where both are known", () => {
    expect(lessLevel(FOLD)).toEqual([
      [0.5, -0.5],
      [null, null],
    ]);
  });
});

describe("readCell", () => {
  it("names epochs, batches, loss and deviation", () => {
    expect(readCell(FOLD, 0, 1)).toBe("epochs 0 to 1 · batches 10 to 19 · loss 0.5 · −0.5 from the epoch’s mean");
  });
  it("says where there is no loss, and ends with the last epoch", () => {
    expect(readCell(FOLD, 1, 0)).toBe("epoch 2 · batches 0 to 9 · no loss");
  });
});

describe("tickPositions", () => {
  it("gives whole batches from 0 on", () => {
    expect(tickPositions(160, 500)).toEqual([0, 50, 100, 150]);
    expect(tickPositions(2, 900)).toEqual([0, 1, 2]);
  });
});
