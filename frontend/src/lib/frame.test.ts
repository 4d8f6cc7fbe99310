import { expect, it } from "vitest";
import { batchAt, GUTTER, inner, xOf } from "./frame";

it("turns batches to pixels and back", () => {
  const frame = { from: 100, to: 1100, width: 1000 + GUTTER.left + GUTTER.right };
  expect(xOf(frame, 100)).toBe(GUTTER.left);
  expect(xOf(frame, 1100)).toBe(GUTTER.left + inner(frame));
  for (const batch of [100, 333, 720, 1100]) expect(batchAt(frame, xOf(frame, batch))).toBe(batch);
  expect(batchAt(frame, 0)).toBe(100);
  expect(batchAt(frame, 9999)).toBe(1100);
  expect(inner({ ...frame, width: 0 })).toBe(1);
});
