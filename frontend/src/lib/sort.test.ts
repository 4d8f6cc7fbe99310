import { describe, expect, it } from "vitest";
import { clicked, sorted } from "./sort";

describe("sorted", () => {
  it("orders rows by value, with unknown ones last either way", () => {
    expect(sorted([2, null, 3, 1], true, false)).toEqual([2, 0, 3, 1]);
    expect(sorted([2, null, 3, 1], false, false)).toEqual([3, 0, 2, 1]);
  });
  it("takes distances by their size, and equal ones in their own order", () => {
    expect(sorted([-5, 4, 5], true, true)).toEqual([0, 2, 1]);
  });
  it("orders nothing where nothing is", () => {
    expect(sorted([], true, true)).toEqual([]);
    expect(sorted([null, null], true, true)).toEqual([0, 1]);
  });
});

describe("clicked", () => {
  it("turns round on the second click", () => {
    const once = clicked({ column: 0, falling: true }, 2);
    expect(once).toEqual({ column: 2, falling: true });
    expect(clicked(once, 2)).toEqual({ column: 2, falling: false });
  });
});
