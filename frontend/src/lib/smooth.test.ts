import { describe, expect, it } from "vitest";
import { smoothed } from "./smooth";

describe("smoothed", () => {
  it("is the mean of each value and those around it", () => {
    const values = [4, 1, 7, 3, 9, 2, 8];
    const plain = values.map((_, at) => {
      const near = values.slice(Math.max(0, at - 2), at + 3);
      return near.reduce((sum, value) => sum + value, 0) / near.length;
    });
    smoothed(values, 2).forEach((value, at) => expect(value).toBeCloseTo(plain[at] ?? NaN, 12));
  });
  it("passes over what is missing and invents nothing there", () => {
    expect(smoothed([1, null, 3, null], 1)).toEqual([1, null, 3, null]);
    expect(smoothed([1, null, 3], 2)).toEqual([2, null, 2]);
  });
  it("changes nothing without a reach, and takes no values", () => {
    expect(smoothed([1, 2, 3], 0)).toEqual([1, 2, 3]);
    expect(smoothed([], 5)).toEqual([]);
  });
});
