import { describe, expect, it } from "vitest";
import { cellAt, ramp, shades, STEPS } from "./heat";

describe("shades", () => {
  it("spreads its colours over the values", () => {
    const scale = shades([[0, 1, 2, 3, 4]], false, 0);
    expect([0, 2, 4].map((value) => scale?.of(value))).toEqual([0, STEPS / 2, STEPS - 1]);
  });
  it("is symmetric around zero where it is asked to be", () => {
    expect(shades([[-1, 0.5, null]], true, 0)).toMatchObject({ low: -1, high: 1 });
    expect(shades([[-1, 0.5]], true, 0)?.of(0)).toBe(STEPS / 2);
  });
  it("is not stretched by one extreme", () => {
    const values = Array.from({ length: 100 }, (_, index) => index / 100);
    expect(shades([[...values, 1e6]], false)?.high).toBeLessThan(1);
  });
  it("is logarithmic where values differ by much", () => {
    const scale = shades([[0.001, 1, 1000]], false, 0);
    expect(scale?.log).toBe(true);
    expect(scale?.of(1)).toBe(STEPS / 2);
    expect(scale?.of(-5)).toBe(0);
  });
  it("knows nothing of nothing, and one colour of equal values", () => {
    expect(shades([[null]], false)).toBeNull();
    expect(shades([[2, 2]], false)?.of(2)).toBe(0);
    expect(shades([[0, 0]], true)?.of(0)).toBeGreaterThanOrEqual(0);
  });
});

describe("ramp", () => {
  it("leads from the first colour to the last", () => {
    const colours = ramp(["#000", "#ffffff"]);
    expect(colours).toHaveLength(STEPS);
    expect([colours[0], colours[STEPS - 1]]).toEqual(["rgb(0,0,0)", "rgb(255,255,255)"]);
  });
});

describe("cellAt", () => {
  it("finds the cell, and none beside them", () => {
    expect([-1, 0, 5, 10, 29, 30, 31].map((at) => cellAt([0, 10, 20, 30], at))).toEqual([-1, 0, 0, 1, 2, 2, -1]);
    expect(cellAt([], 0)).toBe(-1);
  });
});
