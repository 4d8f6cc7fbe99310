import { describe, expect, it } from "vitest";
import { drawHeat, drawRowNames } from "./heat";
import { svgPen } from "./svg";

const AREA = { left: 30, top: 0, width: 30, height: 20 };
const COLOURS = ["#000", "#888", "#fff"];

describe("drawHeat", () => {
  it("draws equal neighbours as one, and leaves what is not known empty", () => {
    const { pen, content } = svgPen("t");
    drawHeat(pen, [[0, 0, 2], [1, null, 1]], [0, 10, 20, 30], AREA, COLOURS, (value) => value);
    const rects = [...content().matchAll(/x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" fill="(#\w+)"/g)].map((found) => found.slice(1).join(" "));
    expect(rects).toEqual(["0 0 20 10 #000", "20 0 10 10 #fff", "0 10 10 10 #888", "20 10 10 10 #888"]);
  });
});

describe("drawRowNames", () => {
  it("keeps the end of a name that is too long", () => {
    const { pen, content } = svgPen("t");
    drawRowNames(pen, ["encoder.layers.0.weight"], { ...AREA, left: 72 }, "#111");
    expect(content()).toContain(">….0.weight<");
  });

  it("leaves out names for which there is no room", () => {
    const { pen, content } = svgPen("t");
    drawRowNames(pen, ["a", "b", "c", "d"], AREA, "#111", 10);
    expect([...content().matchAll(/>(\w)</g)].map(([, name]) => name)).toEqual(["a", "c"]);
  });
});
