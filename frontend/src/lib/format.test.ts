import { describe, expect, it } from "vitest";
import { addingUp, change, count, counted, num, percent, signed, tickLabels } from "./format";

describe("num", () => {
  it.each([
    [0, "0"],
    [0.30499, "0.305"],
    [1234.5, "1\u202f230"],
    [23460, "23\u202f500"],
    [999_499, "999\u202f000"],
    [1_000_000, "1e6"],
    [2_340_000, "2.34e6"],
    [0.001, "0.001"],
    [0.00099951, "0.001"],
    [0.00012345, "0.000123"],
    [0.000012345, "1.23e\u22125"],
    [-2.5, "\u22122.5"],
    [9.999, "10"],
    [0.1 + 0.2, "0.3"],
    [NaN, "\u2013"],
    [null, "\u2013"],
    [Infinity, "\u2013"],
  ])("writes %s as %s", (value, text) => {
    expect(num(value)).toBe(text);
  });

  it("never shows more than three significant digits", () => {
    for (let power = -12; power < 15; power += 1)
      for (const digits of [1.23456, 9.99999, 5, -7.7777]) {
        const mantissa = num(digits * 10 ** power).split("e")[0] ?? "";
        const significant = mantissa.replace(/[^\d]/g, "").replace(/^0+/, "").replace(/0+$/, "");
        expect(significant.length).toBeLessThanOrEqual(3);
      }
  });

  it("stays within half a unit of the third digit of the value", () => {
    for (const value of [0.0012345, 3.14159, 271.828, 98765.4]) {
      const read = Number(num(value).replace(/\u202f/g, ""));
      expect(Math.abs(read - value) / value).toBeLessThan(0.005);
    }
  });
});

describe("signs, shares and counts", () => {
  it("gives a change its sign", () => {
    expect(signed(0.31)).toBe("+0.31");
    expect(signed(-0.31)).toBe("\u22120.31");
    expect(signed(0)).toBe("+0");
    expect(signed(null)).toBe("\u2013");
  });

  it("writes a change with two significant digits", () => {
    expect([0.3, -0.145, 12.3, 0.00123].map(change)).toEqual(["+0.30", "\u22120.14", "+12", "+0.0012"]);
    expect(change(2e-5)).toBe("+2e\u22125");
  });

  it("writes parts with the decimals of the largest, and so that they add up as they are written", () => {
    expect(addingUp([0.252, 0.03, 0.0004, 0.0176, 0.3])).toEqual(["+0.25", "+0.03", "+0.00", "+0.02", "+0.30"]);
    expect(addingUp([11, 0.3, 0, 11.3])).toEqual(["+11.0", "+0.3", "+0.0", "+11.3"]);
    expect(addingUp([0.776, -0.004, -0.004, 0.768])).toEqual(["+0.77", "+0.00", "+0.00", "+0.77"]);
    expect(addingUp([2e-5, 2e-5, 4e-5])).toEqual(["+2.0e\u22125", "+2.0e\u22125", "+4.0e\u22125"]);
    expect(addingUp([7.1e7, 2e6, -3, 7.3e7 - 3])).toEqual(["+7.1e7", "+0.2e7", "0", "+7.3e7"]);
    expect(addingUp([11.3, -0.2, -0.1, 11])).toEqual(["+11.3", "\u22120.2", "\u22120.1", "+11.0"]);
    for (let seed = 1; seed < 400; seed += 1) {
      const parts = [0, 1, 2, 3, 4].map((index) => Math.sin(seed * 12.9898 + index * 78.233) * 10 ** ((seed % 5) - 2));
      const total = parts.reduce((sum, part) => sum + part, 0);
      const texts = addingUp([...parts, total]).map((text) => Number(text.replace("\u2212", "-")));
      const written = texts.slice(0, -1).reduce((sum, value) => sum + value, 0);
      expect(written).toBeCloseTo(texts[5] ?? NaN, 6);
    }
  });

  it("does not hide a sum that is wrong", () => {
    expect(addingUp([0.1, 0.1, 0.9])).toEqual(["+0.10", "+0.10", "+0.90"]);
  });

  it("writes shares with a thin space", () => {
    expect(percent(0.84)).toBe("84\u202f%");
    expect(percent(0.002)).toBe("0.2\u202f%");
    expect(percent(1)).toBe("100\u202f%");
    expect(percent(null)).toBe("\u2013");
  });

  it("counts", () => {
    expect(count(1234567)).toBe("1\u202f234\u202f567");
    expect(counted(1, "batch", "batches")).toBe("1 batch");
    expect(counted(0, "batch", "batches")).toBe("0 batches");
  });
});

describe("tickLabels", () => {
  it("gives all ticks the decimals that their spacing needs", () => {
    expect(tickLabels([0, 0.5, 1])).toEqual(["0.0", "0.5", "1.0"]);
    expect(tickLabels([0, 1000, 2000])).toEqual(["0", "1\u202f000", "2\u202f000"]);
    expect(tickLabels([-0.02, 0, 0.02])).toEqual(["\u22120.02", "0.00", "0.02"]);
    expect(tickLabels([])).toEqual([]);
    expect(tickLabels([0.5])).toEqual(["0.5"]);
  });
});
