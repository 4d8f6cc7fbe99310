import { describe, expect, it } from "vitest";
import { scaleOf } from "./scale";

describe("scaleOf", () => {
  it("is linear", () => {
    const y = scaleOf({ low: 0, high: 10, log: false }, 100, 0);
    expect([0, 5, 10].map(y)).toEqual([100, 50, 0]);
  });
  it("is logarithmic, with what has no logarithm at its lower end", () => {
    const y = scaleOf({ low: 0.01, high: 100, log: true }, 100, 0);
    expect([0.01, 1, 100, 0, -3].map((value) => Math.round(y(value)))).toEqual([100, 50, 0, 100, 100]);
  });
  it("puts a single value in the middle", () => {
    expect(scaleOf({ low: 2, high: 2, log: false }, 0, 50)(2)).toBe(25);
  });
});
