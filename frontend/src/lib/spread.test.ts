import { expect, it } from "vitest";
import { spread } from "./spread";

it("leaves labels alone that do not touch", () => {
  expect(spread([10, 60], 20, 0, 100)).toEqual([10, 60]);
});

it("pushes neighbours apart and keeps them inside, in the given order", () => {
  const placed = spread([50, 52, 49], 20, 0, 100);
  const sorted = [...placed].sort((a, b) => a - b);
  sorted.slice(1).forEach((value, index) => expect(value - (sorted[index] ?? 0)).toBeGreaterThanOrEqual(20));
  expect(placed[2]).toBeLessThan(placed[0] ?? 0);
  expect(Math.max(...spread([99, 98], 20, 0, 100))).toBeLessThanOrEqual(100);
  expect(Math.min(...spread([1, 2], 20, 5, 100))).toBeGreaterThanOrEqual(5);
  expect(spread([], 20, 0, 100)).toEqual([]);
});
