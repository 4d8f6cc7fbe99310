import { expect, it } from "vitest";
import { crowding, GUTTER, inner, xOf } from "./frame";

it("turns batches to pixels", () => {
  const frame = { from: 100, to: 1100, width: 1000 + GUTTER.left + GUTTER.right };
  expect(xOf(frame, 100)).toBe(GUTTER.left);
  expect(xOf(frame, 1100)).toBe(GUTTER.left + inner(frame));
  expect(xOf(frame, 600)).toBe(GUTTER.left + inner(frame) / 2);
  expect(inner({ ...frame, width: 0 })).toBe(1);
});

it("counts what stands at the same batch", () => {
  expect(crowding([5, 5, 9, 5, 9])).toEqual([0, 1, 0, 2, 1]);
  expect(crowding([])).toEqual([]);
});
