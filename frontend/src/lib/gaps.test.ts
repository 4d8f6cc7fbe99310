import { describe, expect, it } from "vitest";
import { lostWords, withGaps } from "./gaps";

describe("withGaps", () => {
  it("puts a row of nulls where batches are missing", () => {
    const table = [
      [0, 10, 20, 30],
      [1, 2, 3, 4],
    ];
    expect(withGaps(table, { batch: [20] })).toEqual([
      [0, 10, 19.5, 20, 30],
      [1, 2, null, 3, 4],
    ]);
  });

  it("places a hole within a bucket before the next one, two holes apart, and none before the first row or behind the last", () => {
    expect(withGaps([[0, 10, 20]], { batch: [0, 13, 17, 30] })).toEqual([[0, 10, 12.5, 16.5, 20]]);
    expect(withGaps([[], []], { batch: [3] })).toEqual([[], []]);
  });
});

describe("lostWords", () => {
  it("counts the batches of all holes", () => {
    expect(lostWords({ lost: [50] })).toBe("50 batches lost");
    expect(lostWords({ lost: [1] })).toBe("1 batch lost");
    expect(lostWords({ lost: [] })).toBe("");
  });
});
