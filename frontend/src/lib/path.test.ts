import { describe, expect, it } from "vitest";
import { dotPath, extent, isSparse, linear, linePath, padded } from "./path";

describe("linePath", () => {
  it("breaks at what is not a number and shows a lone point", () => {
    expect(linePath([0, 1, 2, 3, 4], [5, 6, null, 7, NaN])).toBe("M0 5L1 6M3 7h1");
    expect(linePath([], [])).toBe("");
    expect(linePath([1.234], [9.876])).toBe("M1.2 9.9h1");
  });
});

describe("ranges", () => {
  it("ignores what is not finite", () => {
    expect(extent([null, 3, -1, Infinity, NaN])).toEqual([-1, 3]);
    expect(extent([null, NaN])).toBeNull();
    expect(extent([])).toBeNull();
  });

  it("maps ends to ends and a single value to the middle", () => {
    const scale = linear([2, 4], [100, 0]);
    expect([2, 3, 4].map(scale)).toEqual([100, 50, 0]);
    expect(linear([5, 5], [100, 0])(5)).toBe(50);
  });

  it("pads, also a single value and zero", () => {
    expect(padded([0, 10], 0.1)).toEqual([-1, 11]);
    const [low, high] = padded([0, 0], 0.1);
    expect(high).toBeGreaterThan(low);
    expect(padded([5, 5], 0.1)).toEqual([4.5, 5.5]);
  });
});

describe("sparse values", () => {
  it("are dots where most of them are missing, a line where few are", () => {
    expect(isSparse([1, null, null, 2, null, 3])).toBe(true);
    expect(isSparse([1, 2, 3, null, 5, 6])).toBe(false);
    expect(isSparse([null, null, null, 1, 2, null])).toBe(false);
    expect(isSparse([null, null])).toBe(false);
    expect(dotPath([1, 2, 3], [4, null, 6])).toBe("M1 4h0M3 6h0");
  });
});
