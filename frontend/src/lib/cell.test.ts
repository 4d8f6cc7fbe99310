import { describe, expect, it } from "vitest";
import { cell } from "./cell";

describe("cell", () => {
  it("tells watchers once for a change and never for the same value", () => {
    const watched = cell({ a: 1, b: "x" });
    let calls = 0;
    const stop = watched.watch(() => (calls += 1));
    watched.set({ a: 1 });
    expect(calls).toBe(0);
    watched.set({ a: 2, b: "y" });
    expect(calls).toBe(1);
    expect(watched.get()).toEqual({ a: 2, b: "y" });
    stop();
    watched.set({ a: 3 });
    expect(calls).toBe(1);
  });

  it("lets a watcher stop itself while it is told", () => {
    const watched = cell({ a: 1 });
    const seen: string[] = [];
    const stop = watched.watch(() => {
      seen.push("first");
      stop();
    });
    watched.watch(() => seen.push("second"));
    watched.set({ a: 2 });
    watched.set({ a: 3 });
    expect(seen).toEqual(["first", "second", "second"]);
  });
});
