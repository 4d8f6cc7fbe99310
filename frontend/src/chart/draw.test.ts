import { describe, expect, it } from "vitest";
import { drawBand, drawCrosses, drawDots, drawLine, drawSpan, drawXAxis, drawYAxis } from "./draw";
import { type Pen, within } from "./pen";
import { svgPen } from "./svg";

const same = (value: number): number => value;
const AREA = { left: 10, top: 5, width: 100, height: 50 };

/** What was drawn, as the SVG that it makes. */
function drawn(how: (pen: Pen) => void): string {
  const { pen, content } = svgPen("t");
  how(pen);
  return content();
}
const paths = (svg: string): string[] => [...svg.matchAll(/ d="([^"]*)"/g)].map(([, d = ""]) => d);

describe("drawLine", () => {
  it("goes through the values in order", () => {
    expect(paths(drawn((pen) => drawLine(pen, [0, 1, 2], [5, 6, 7], same, same)))).toEqual(["M0 5L0 5L1 6L2 7"]);
  });
  it("does not bridge what is missing, and keeps what stands alone", () => {
    expect(paths(drawn((pen) => drawLine(pen, [0, 1, 2, 3], [5, null, 7, null], same, same)))).toEqual(["M0 5L0 5M2 7L2 7"]);
  });
  it("draws nothing for no values", () => {
    expect(paths(drawn((pen) => drawLine(pen, [0, 1], [null, null], same, same)))).toEqual([""]);
  });
});

describe("drawBand", () => {
  it("closes each run of values by itself", () => {
    const d = paths(drawn((pen) => drawBand(pen, [0, 1, 2, 3, 4], [1, 1, null, 1, 1], [2, 3, null, 2, 2], same, same)));
    expect(d).toEqual(["M0 2L1 3L1 1L0 1M3 2L4 2L4 1L3 1"]);
  });
});

describe("drawDots and drawCrosses", () => {
  it("draws one dot for each value that is there", () => {
    expect(paths(drawn((pen) => drawDots(pen, [1, 2, 3], [1, null, 3], same, same, 2)))).toHaveLength(2);
  });
  it("draws no cross on another", () => {
    expect(drawn((pen) => drawCrosses(pen, [0, 1, 2, 30], same, 0, 3)).match(/M/g)).toHaveLength(4);
  });
});

describe("drawSpan", () => {
  it("stays within the area and is never too thin to be seen", () => {
    expect(drawn((pen) => drawSpan(pen, -5, 20, AREA))).toContain('x="10" y="5" width="10"');
    expect(drawn((pen) => drawSpan(pen, 20, 20, AREA, 3))).toContain('width="3"');
    expect(drawn((pen) => drawSpan(pen, 200, 300, AREA, 3))).toBe("");
  });
});

describe("axes", () => {
  it("writes what was given, and leaves out what lies beside the area", () => {
    const texts = drawn((pen) => {
      drawXAxis(pen, [{ at: 5, text: "no" }, { at: 50, text: "yes" }], AREA, "#111");
      drawYAxis(pen, [{ at: 20, text: "0.5" }], AREA, "#111", "#eee");
    });
    expect([...texts.matchAll(/>([^<]+)</g)].map(([, text]) => text)).toEqual(["yes", "0.5"]);
  });
});

describe("svgPen", () => {
  it("writes text as text", () => {
    expect(drawn((pen) => pen.fillText('<script>"&', 0, 0))).toMatch(/>&#60;script&#62;&#34;&#38;<\/text>/);
  });
  it("clips inside, and not after", () => {
    const [, inside = "", after = ""] = drawn((pen) => {
      within(pen, AREA, () => pen.fillRect(0, 0, 1, 1));
      pen.fillRect(0, 0, 2, 2);
    }).split("<rect");
    expect(inside).toContain('clip-path="url(#t-1)"');
    expect(after).not.toContain("clip-path");
  });
});
