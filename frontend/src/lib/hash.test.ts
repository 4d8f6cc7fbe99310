import { describe, expect, it } from "vitest";
import { type Place, readPlace, START, writePlace } from "./hash";

const FULL: Place = { run: 'a/b "c" <i>&=#ü', boundary: 6, zoom: [10, 250], axis: "step", scale: "log", scalar: "Loss/train & more", view: "epochs", colour: "value", signal: "bn_mean_gap", kind: "benign", smooth: 3, over: true, batch: 17, runs: ["a|b", "c, d&e"] };

describe("the place in the address", () => {
  it("comes back as it was written", () => {
    expect(readPlace(writePlace("", FULL))).toEqual(FULL);
    expect(readPlace(writePlace("", START))).toEqual(START);
  });

  it("leaves what belongs to TensorBoard alone", () => {
    const hash = writePlace("#scalars&run=x&p.other.a=1&p.losslens.run=old&p.losslens.from=3", { ...START, run: "new" });
    expect(hash).toBe("#scalars&run=x&p.other.a=1&p.losslens.run=new");
  });

  it("opens our tab where the address names none", () => {
    expect(writePlace("", { ...START, run: "r" })).toBe("#losslens&p.losslens.run=r");
  });

  it("writes defaults as nothing", () => {
    expect(writePlace("#losslens", START)).toBe("#losslens");
  });

  it.each(["#p.losslens.boundary=-1", "#p.losslens.boundary=x", "#p.losslens.from=5&p.losslens.to=5", "#p.losslens.from=9", "#p.losslens.axis=z&p.losslens.scale=q", "#%&%E0%A4%A=1", "#=&&="])(
    "reads nonsense as the default: %s",
    (hash) => {
      expect(readPlace(hash)).toEqual(START);
    },
  );

  it("keeps a broken escape as text", () => {
    expect(readPlace("#p.losslens.run=50%").run).toBe("50%");
  });
});
